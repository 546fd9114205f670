"""The need-flush rule of a kernel's text: its functions, cut out with all the definitions that they use, and compiled.

Nothing of the text is rewritten. A definition that a function uses is looked up by its name: in kernel/shim/rule.h,
then in the tree's headers, and, for a single file, in kernel/shim/bits.h.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from shootdown.kernel.apart import ask_apart
from shootdown.kernel.compiler import cached, compiler_version, refuse_imports, run_compiler
from shootdown.kernel.directives import harmless, refuse_code
from shootdown.kernel.function import TRACE, TRACED, Function
from shootdown.kernel.items import Item, items_in
from shootdown.kernel.text import MAKEFILE, RULE_HEADER, KernelError, Text, release_of

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
"""The options of a kernel's configuration that are set; all others are not, for example paravirtualization."""
_VALUES: Final = {
    "PGTABLE_LEVELS": "5",
    "PAGE_SHIFT": "12",
    "PHYSICAL_START": "0x1000000",
    "PHYSICAL_ALIGN": "0x200000",
}

PTE_RULES: Final = ("pte_needs_flush", "pte_may_need_flush")
PMD_RULES: Final = ("huge_pmd_needs_flush", "huge_pmd_may_need_flush")
"""The names of the rule in kernels and patches, for an entry of 4 KiB and for a huge PMD."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled rule.

    `needs_flush`: a function of two entries.
    `huge_needs_flush`: the same for a huge PMD, None if the text has no rule for it.
    `places`: for each function of the text that takes part, its file and line there.
    `release`: the kernel's, from its Makefile, or else a word for the place of the text.
    `digest`: equal for equal text, configuration, shim and compiler.
    """

    needs_flush: Function
    huge_needs_flush: Function | None
    places: dict[str, str]
    release: str
    digest: str


def rule_of(text: Text, *, debug_vm: bool = False) -> Rule:
    """Return the rule of a text, compiled by gcc or taken from the cache.

    `debug_vm`: decide as a kernel that is built with CONFIG_DEBUG_VM, in which a bit that is in no list needs a flush.
    Errors: KernelError, when the text has no rule, or one that does not compile, or that could do more than decide.
    """
    found = text.read([MAKEFILE, *HEADERS])
    release = release_of(found.pop(MAKEFILE, "")) or text.word
    if RULE_HEADER not in found:
        raise KernelError(f"{text.word} has no {RULE_HEADER}, where the need-flush rule of x86 is.")
    sources = {name: harmless(content, name) for name, content in found.items()}
    shim = {
        name: harmless(files("shootdown.kernel").joinpath("shim", name).read_text(), name)
        for name in ("rule.h", "bits.h")
    }
    key = {
        **sources,
        **shim,
        "debug_vm": str(debug_vm),
        "compiler": compiler_version(),
        # All that cuts, checks and compiles it: what an older check has let pass is not taken from the cache.
        **{file.name: file.read_text() for file in Path(__file__).parent.glob("*.py")},
    }

    def make(folder: Path) -> None:
        _build(folder, sources, shim, debug_vm=debug_vm)

    def trace() -> Path:
        return cached({**key, "traced": "yes"}, "traced.so", make_traced)

    def make_traced(folder: Path) -> None:
        unit = (library.parent / "rule.c").read_text() + TRACE
        (folder / "traced.c").write_text(unit)
        run_compiler(
            [*_OPTIONS, *options_of(debug_vm=debug_vm), f"-ffile-prefix-map={folder}=.", *TRACED],
            folder,
        )

    library = cached(key, "rule.so", make)
    header = sources[RULE_HEADER]
    huge = None
    try:
        made = json.loads((library.parent / "rule.json").read_text())
        if made["pmd"]:
            huge = Function(library, "shootdown_huge_pmd", made["pmd"], header, trace)
        return Rule(
            Function(library, "shootdown_pte", made["pte"], header, trace),
            huge,
            made["places"],
            release,
            library.parent.name,
        )
    except (OSError, ValueError, KeyError, AttributeError) as error:
        message = f"{library.parent} cannot be loaded ({type(error).__name__}); delete it."
        raise KernelError(message) from None


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


def _build(folder: Path, sources: dict[str, str], shim: dict[str, str], *, debug_vm: bool) -> None:
    ours = {
        name
        for item in _preprocessed(folder, {"rule.h": shim["rule.h"]}, debug_vm=debug_vm)
        for name in item.names
    }
    tree = _preprocessed(
        folder, {name: sources[name] for name in HEADERS if name in sources}, debug_vm=debug_vm
    )
    bits = _preprocessed(folder, {"bits.h": shim["bits.h"]}, debug_vm=debug_vm)
    defined: dict[str, list[Item]] = {}
    names = {name for item in tree for name in item.names}
    for item in (*(item for item in bits if not names.intersection(item.names)), *tree):
        for name in item.names:
            if name not in ours:
                defined.setdefault(name, []).append(item)
    pte = next((name for name in PTE_RULES if name in defined), "")
    pmd = next((name for name in PMD_RULES if name in defined), "")
    if not pte:
        raise KernelError(f"{RULE_HEADER} has none of the functions {' and '.join(PTE_RULES)}.")
    needed = _needed(defined, [pte, *filter(None, [pmd])], [*bits, *tree])
    unit = ['#line 1 "rule.h"\n' + shim["rule.h"]]
    unit += [f'#line {item.line} "{item.file}"\n{item.text}' for item in needed]
    unit.append(
        '#line 1 "driver"\n' + _DRIVER.format(symbol="shootdown_pte", function=pte, type="pte_t")
    )
    if pmd:
        unit.append(_DRIVER.format(symbol="shootdown_huge_pmd", function=pmd, type="pmd_t"))
    (folder / "rule.c").write_text("".join(unit))
    expanded = run_compiler(["-E", "-nostdinc", *options_of(debug_vm=debug_vm), "rule.c"], folder)
    refuse_code(expanded, frozenset({"rule.h", "bits.h", "driver"}))
    run_compiler(
        [*_OPTIONS, *options_of(debug_vm=debug_vm), "-Wl,-z,defs", "-o", "rule.so", "rule.c"],
        folder,
    )
    refuse_imports(folder / "rule.so")
    ask_apart(folder / "rule.so", ["shootdown_pte", *(["shootdown_huge_pmd"] if pmd else [])])
    places = {
        item.names[0]: f"{item.file}:{item.line}"
        for item in needed
        if item.file != "bits.h"
        and (item.names[0] in (pte, pmd) or (not item.macro and "(" in item.text.partition("{")[0]))
    }
    (folder / "rule.json").write_text(json.dumps({"pte": pte, "pmd": pmd, "places": places}))


def options_of(*, debug_vm: bool, more: Iterable[str] = ()) -> list[str]:
    """Return the compiler's options for the configuration, with more of its options set."""
    chosen = [*CONFIGURATION, *more, *(["DEBUG_VM"] if debug_vm else [])]
    values = [f"-DCONFIG_{name}={value}" for name, value in _VALUES.items()]
    return [
        "-D__KERNEL__",
        "-DBITS_PER_LONG=64",
        *(f"-DCONFIG_{name}=1" for name in chosen),
        *values,
    ]


def _preprocessed(folder: Path, sources: dict[str, str], *, debug_vm: bool) -> list[Item]:
    """Return the items of files, one after the other, with the conditions decided by the configuration."""
    unit = "".join(f'#line 1 "{name}"\n{content}\n' for name, content in sources.items())
    (folder / "unit.c").write_text(unit)
    printed = run_compiler(
        ["-E", "-fdirectives-only", "-nostdinc", *options_of(debug_vm=debug_vm), "unit.c"], folder
    )
    (folder / "unit.c").unlink()
    return [item for item in items_in(printed) if item.file in sources]


def _needed(defined: dict[str, list[Item]], wanted: list[str], order: Iterable[Item]) -> list[Item]:
    """Return the items that the wanted names use, also indirectly, in the order of the text."""
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
    return [item for item in order if item in taken]
