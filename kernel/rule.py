"""The need-flush rule of a kernel's text: its functions, cut out with all the definitions that they use, and compiled.

Nothing of the text is rewritten. A definition that a function uses is looked up by its name: in kernel/shim/rule.h,
then in the tree's headers, and, for a single file, in kernel/shim/bits.h.
"""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from shootdown.kernel.apart import ask_apart
from shootdown.kernel.checked import checked
from shootdown.kernel.compiler import (
    cached,
    compiler_version,
    digest_of,
    refuse_imports,
    run_compiler,
)
from shootdown.kernel.conditions import asked_options
from shootdown.kernel.directives import harmless
from shootdown.kernel.function import TRACE, TRACE_NAME, TRACED, Function
from shootdown.kernel.hunk import GAP
from shootdown.kernel.items import Item, items_in
from shootdown.kernel.text import (
    MAKEFILE,
    RULE_HEADER,
    RULES,
    KernelError,
    Text,
    printable,
    release_of,
    shown,
)

HEADERS: Final = (
    "include/uapi/linux/const.h",
    "include/vdso/const.h",
    "include/vdso/bits.h",
    "include/vdso/page.h",
    "arch/x86/include/asm/page_types.h",
    "arch/x86/include/asm/page_64_types.h",
    "arch/x86/include/asm/pgtable_64_types.h",
    "arch/x86/include/asm/pgtable_types.h",
    "arch/x86/include/asm/pgtable-invert.h",
    "arch/x86/include/asm/pgtable.h",
    RULE_HEADER,
)
"""The headers that define a rule of x86-64 and the names that it uses, in the order in which the kernel includes them.
"""

CONFIGURATION: Final = (
    "64BIT",
    "X86",
    "X86_64",
    "X86_PAE_OFF",
    "X86_5LEVEL",
    "SMP",
    "MMU",
    "X86_INTEL_MEMORY_PROTECTION_KEYS",
    "ARCH_HAS_PKEYS",
    "MEM_SOFT_DIRTY",
    "HAVE_ARCH_SOFT_DIRTY",
    "HAVE_ARCH_USERFAULTFD_WP",
    "PTE_MARKER_UFFD_WP",
    "TRANSPARENT_HUGEPAGE",
    "NUMA",
    "NUMA_BALANCING",
    "SWAP",
    "SHMEM",
    "KSM",
    "MIGRATION",
    "COMPACTION",
    "USERFAULTFD",
    "HAVE_ARCH_TRANSPARENT_HUGEPAGE",
    "ARCH_ENABLE_THP_MIGRATION",
    "X86_USER_SHADOW_STACK",
    "PGTABLE_HAS_HUGE_LEAVES",
)
"""The options of a kernel's configuration that are always set; others only on request, for example DEBUG_VM."""
KNOWN_OFF: Final = frozenset({"DEBUG_VM", "DYNAMIC_PHYSICAL_MASK", "PARAVIRT_XXL", "X86_PAE"})
"""The options that the rules of all releases ask for and that are off, as docs/kernel.md says."""
_VALUES: Final = {
    "PGTABLE_LEVELS": "5",
    "PAGE_SHIFT": "12",
    "PHYSICAL_START": "0x1000000",
    "PHYSICAL_ALIGN": "0x200000",
}

PMD_RULES: Final = ("huge_pmd_needs_flush", "huge_pmd_may_need_flush")
"""The names of the rule for a huge PMD, in kernels and in patches."""
_SHIM: Final = {"<shim/rule.h>": "rule.h", "<shim/bits.h>": "bits.h"}
"""The files of shim/, by names that no file of a text has."""
_DRIVEN: Final = "<driver>"


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled rule.

    `needs_flush`: a function of two entries.
    `huge_needs_flush`: the same for a huge PMD, None if the text has no rule for it.
    `places`: for each function of the text that takes part, its file and line there.
    `release`: the kernel's, from its Makefile, or else a word for the place of the text.
    `digest`: equal only for rules whose text is equal, with all the definitions that take part and the options.
    `off`: the options of the configuration that the text of the rule asks for and that are not set, in their order.
    """

    needs_flush: Function
    huge_needs_flush: Function | None
    places: dict[str, str]
    release: str
    digest: str
    off: tuple[str, ...]


def rule_of(text: Text, options: Collection[str] = ()) -> Rule:
    """Return the rule of a text, compiled by gcc or taken from the cache.

    `options`: options of the configuration that are set, beside CONFIGURATION; with DEBUG_VM a bit that is in no list
    needs a flush.
    Errors: KernelError, when the text has no rule, or one that does not compile, or that could do more than decide.
    """
    found = text.read([MAKEFILE, *HEADERS])
    release = printable(release_of(found.pop(MAKEFILE, ""))[:_LONGEST]) or text.word
    if RULE_HEADER not in found:
        raise KernelError(
            f"{shown(text.path)} has no {RULE_HEADER}, where the need-flush rule of x86 is."
        )
    sources = {
        text.called(name): harmless(found[name], text.called(name))
        for name in HEADERS
        if name in found
    }
    shim = {
        name: harmless(files("shootdown.kernel").joinpath("shim", file).read_text(), name)
        for name, file in _SHIM.items()
    }
    key = {
        **{f"text {name}": content for name, content in sources.items()},
        **shim,
        "options": " ".join(sorted(options)),
        "compiler": compiler_version(),
        # All that cuts, checks and compiles it: what an older check has let pass is not taken from the cache.
        **{file.name: file.read_text() for file in Path(__file__).parent.glob("*.py")},
    }
    header = text.called(RULE_HEADER)

    def make(folder: Path) -> None:
        try:
            _build(folder, sources, shim, header, options)
        except KernelError as error:
            raise KernelError(_explained(str(error), header, text.advice)) from None

    def trace() -> Path:
        return cached({**key, "traced": "yes"}, "traced.so", make_traced)

    def make_traced(folder: Path) -> None:
        unit = (library.parent / "rule.c").read_text() + TRACE
        (folder / "traced.c").write_text(unit)
        prefix = f"-ffile-prefix-map={folder}=."
        _compile(folder, "traced.c", "traced.so", [*options_of(options), prefix, *TRACED])

    library = cached(key, "rule.so", make)
    made = json.loads((library.parent / "rule.json").read_text())
    places = made["places"]

    def function(symbol: str, name: str) -> Function:
        try:
            return Function(library, symbol, name, places, header, sources[header], trace)
        except OSError as error:
            raise KernelError(f"{library} cannot be loaded: {printable(str(error))}.") from None

    return Rule(
        function("shootdown_pte", made["pte"]),
        function("shootdown_huge_pmd", made["pmd"]) if made["pmd"] else None,
        places,
        release,
        made["digest"],
        tuple(made["off"]),
    )


def _explained(sentence: str, header: str, advice: str) -> str:
    """Return what went wrong in words about the user's text, and the advice if something is missing in it."""
    place, _, said = sentence.partition(": ")
    if GAP in sentence:
        return f"{place}: the patch does not show all of what is defined here. {advice}"
    if place.startswith(_DRIVEN):
        return f"{header}: the rule is no function of two entries: {said}"
    return f"{sentence} {advice}".rstrip() if _ABSENT.search(sentence) else sentence


_ABSENT: Final = re.compile(
    "has none of|undeclared|implicit declaration|unknown type|defined nowhere"
)
"""What is said of a text that lacks something."""
_LONGEST: Final = 30
"""The limit in characters for a release."""
_DRIVER: Final = """
__attribute__((visibility("default"))) _Bool {symbol}(unsigned long old, unsigned long new)
{{
	return {function}(({type}){{ old }}, ({type}){{ new }});
}}
"""
_OPTIONS: Final = (
    "-std=gnu11",
    "-O2",
    "-Werror=return-type",
    "-Werror=implicit-function-declaration",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-nostdinc",
    "-nostdlib",
    "-fno-builtin",
)


def _build(
    folder: Path,
    sources: dict[str, str],
    shim: dict[str, str],
    header: str,
    options: Collection[str],
) -> None:
    rule_h, bits_h = _SHIM
    ours = {
        name
        for item in _preprocessed(folder, {rule_h: shim[rule_h]}, options)
        for name in item.names
    }
    tree = _preprocessed(folder, sources, options)
    bits = _preprocessed(folder, {bits_h: shim[bits_h]}, options)
    defined: dict[str, list[Item]] = {}
    names = {name for item in tree for name in item.names if not item.ends}
    for item in (*(item for item in bits if not names.intersection(item.names)), *tree):
        for name in item.names:
            if name not in ours and not item.ends:
                defined.setdefault(name, []).append(item)
    pte = next((name for name in RULES if name in defined), "")
    pmd = next((name for name in PMD_RULES if name in defined), "")
    if not pte:
        raise KernelError(f"{header} has none of the functions {' and '.join(RULES)}.")
    needed = _needed(defined, [pte, *filter(None, [pmd])], _ordered(bits, tree, defined))
    unit = [f'#line 1 "{rule_h}"\n' + shim[rule_h]]
    unit += [f'#line {item.line} "{item.file}"\n{item.text}' for item in needed]
    unit.append(
        f'#line 1 "{_DRIVEN}"\n'
        + _DRIVER.format(symbol="shootdown_pte", function=pte, type="pte_t")
    )
    if pmd:
        unit.append(_DRIVER.format(symbol="shootdown_huge_pmd", function=pmd, type="pmd_t"))
    (folder / "rule.c").write_text("".join(unit))
    _compile(folder, "rule.c", "rule.so", options_of(options))
    refuse_imports(folder / "rule.so")
    ask_apart(folder / "rule.so", ["shootdown_pte", *(["shootdown_huge_pmd"] if pmd else [])])
    # The release is not part of it, nor are the lines: it is equal for equal rules at other places.
    digest = digest_of(
        {
            "text": "".join(item.text for item in needed),
            "options": " ".join(sorted(set(options) - set(CONFIGURATION))),
        }
    )
    places = {
        item.names[0]: f"{item.file}:{item.line}"
        for item in needed
        if item.file != bits_h
        and not item.ends
        and (item.names[0] in (pte, pmd) or (not item.macro and "(" in item.text.partition("{")[0]))
    }
    asked = {
        name
        for file, content in sources.items()
        for name in asked_options(
            content, [(item.line, item.last) for item in needed if item.file == file]
        )
    }
    off = sorted(asked - set(options) - set(CONFIGURATION) - set(_VALUES))
    made = {"pte": pte, "pmd": pmd, "places": places, "digest": digest, "off": off}
    (folder / "rule.json").write_text(json.dumps(made))


def _compile(folder: Path, unit: str, library: str, options: list[str]) -> None:
    chosen = [*_OPTIONS, *options]
    trusted = frozenset({*_SHIM, _DRIVEN, TRACE_NAME})
    made = checked(unit, chosen, folder, trusted)
    run_compiler([*chosen, "-Wl,-z,defs", "-o", library, made], folder)


def options_of(options: Collection[str]) -> list[str]:
    """Return the compiler's options for the configuration, with more of its options set."""
    chosen = dict.fromkeys([*CONFIGURATION, *sorted(options)])
    values = [f"-DCONFIG_{name}={value}" for name, value in _VALUES.items()]
    return [
        "-D__KERNEL__",
        "-DBITS_PER_LONG=64",
        *(f"-DCONFIG_{name}=1" for name in chosen if name not in _VALUES),
        *values,
    ]


def _preprocessed(folder: Path, sources: dict[str, str], options: Collection[str]) -> list[Item]:
    """Return the items of files, one after the other, with the conditions decided by the configuration."""
    unit = "".join(f'#line 1 "{name}"\n{content}\n' for name, content in sources.items())
    (folder / "unit.c").write_text(unit)
    printed = run_compiler(
        ["-E", "-fdirectives-only", "-nostdinc", *options_of(options), "unit.c"], folder
    )
    (folder / "unit.c").unlink()
    return [item for item in items_in(printed) if item.file in sources]


def _ordered(bits: list[Item], tree: list[Item], defined: dict[str, list[Item]]) -> list[Item]:
    """Return the items of the text in their order, and each of bits.h as soon as what it uses has been defined.

    A text with some of an entry's bits may define what functions of bits.h use.
    """
    positions = {id(item): at for at, item in enumerate(tree)}
    last: dict[int, int] = {}
    for item in bits:
        seen = {id(item)}
        waiting = [item]
        last[id(item)] = -1
        while waiting:
            for name in waiting.pop().uses():
                for used in defined.get(name, ()):
                    if id(used) not in seen:
                        seen.add(id(used))
                        waiting.append(used)
                        last[id(item)] = max(last[id(item)], positions.get(id(used), -1))
    # The sort keeps the order of those with one place, and each list's own.
    places = [*enumerate(tree), *((last[id(item)], item) for item in bits)]
    return [item for _, item in sorted(places, key=lambda place: place[0])]


def _needed(defined: dict[str, list[Item]], wanted: list[str], order: Iterable[Item]) -> list[Item]:
    """Return the items that the wanted names use, also indirectly, in the order of the text.

    A macro whose meaning ends in the text is followed by its #undef.
    """
    taken: set[Item] = set()
    seen: set[str] = set()
    names = list(wanted)
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        for item in defined.get(name, ()):
            if item not in taken:
                taken.add(item)
                names.extend(item.uses())
    macros = {item.names[0] for item in taken if item.macro}
    return [item for item in order if item in taken or (item.ends and item.names[0] in macros)]
