"""The files of a text one after the other, with what is compiled of their headers in the place of each #include.

The lines keep their numbers. Three things of the text are changed, so that they happen in small scopes or can happen at
all in a program (CHANGES), and instructions become calls (_instruction).
"""

import re
from dataclasses import dataclass
from typing import Final

from shootdown.kernel.directives import without_comments, without_reads
from shootdown.kernel.text import KernelError

FLUSHING: Final = "arch/x86/mm/tlb.c"
GATHERING: Final = "mm/mmu_gather.c"
WANTED: Final = (
    "asm/pgtable_types.h",
    "asm/pgtable_64_types.h",
    "asm/page_types.h",
    "asm/processor-flags.h",
    "uapi/asm/processor-flags.h",
    "linux/const.h",
    "uapi/linux/const.h",
    "vdso/const.h",
    "vdso/page.h",
    "asm/mmu.h",
    "asm/tlbbatch.h",
    "asm/tlbflush.h",
    "asm-generic/tlb.h",
    "asm/tlb.h",
)
"""The headers that are compiled, by the words of an #include."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the text: a pattern that a file must have, its replacement, and the reason."""

    file: str
    pattern: str
    replacement: str
    reason: str
    needed: bool


_GEOMETRY: Final = "a table of the simulated machine has four entries (machine/geometry.py)"
CHANGES: Final = (
    *(
        Change(
            "asm/pgtable_64_types.h",
            rf"(#[ \t]*define[ \t]+{name}_SHIFT[ \t]+)\d+",
            rf"\g<1>{shift}",
            _GEOMETRY,
            needed=True,
        )
        for name, shift in (("PMD", 14), ("PUD", 15), ("P4D", 24))
    ),
    Change(
        "asm/tlbflush.h",
        r"(#[ \t]*define[ \t]+TLB_NR_DYN_ASIDS[ \t]+)\d+",
        r"\1SHOOTDOWN_ASIDS",
        "a scenario says how many ASIDs a CPU has, so that slots are recycled by few address spaces",
        needed=True,
    ),
    Change(
        "uapi/asm/processor-flags.h",
        r"(#[ \t]*define[ \t]+X86_CR3_PCID_BITS[ \t]+)\d+",
        r"\g<1>4",
        "global ASIDs run out after fourteen, not after four thousand",
        needed=True,
    ),
    Change(
        FLUSHING,
        r"(mm_active_cpus_exceeds\(mm,[ \t]*)3\)",
        r"\g<1>1)",
        "an address space gets a global ASID when two CPUs run it, not four",
        needed=False,
    ),
)


def paths_of(include: str) -> tuple[str, ...]:
    """Return the files that an #include may name, the first of which is taken."""
    if include.startswith("asm/"):
        return f"arch/x86/include/{include}", f"arch/x86/include/uapi/{include}"
    if include.startswith("uapi/asm/"):
        return (f"arch/x86/include/{include}",)
    return f"include/{include}", f"include/uapi/{include}"


_INCLUDE: Final = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^">\n]+)[">].*$', re.MULTILINE)
_DEFINED: Final = re.compile(r"^[ \t]*#[ \t]*(?:define|undef)[ \t]+(\w+)", re.MULTILINE)
_ASM: Final = re.compile(r"\basm[ \t]+(?:volatile|__volatile__)?[ \t]*\(")


class Splicer:
    """Puts files one after the other, each header once, with the numbers of their lines."""

    def __init__(self, found: dict[str, str]) -> None:
        self._found = found
        self._taken: set[str] = set()
        self._parts: list[str] = []
        self._shim: set[str] = set()

    def text(self) -> str:
        """Return all that has been added."""
        return "".join(self._parts)

    def shim(self, name: str, content: str) -> None:
        """Add a file of the shim, whose macros no file of the text defines again."""
        self._shim.update(_DEFINED.findall(content))
        self._parts.append(f'#line 1 "{name}"\n{content}\n')

    def header(self, include: str) -> None:
        """Add a header, unless it has been added; a header that the tree does not have is empty."""
        path = next((path for path in paths_of(include) if path in self._found), "")
        if path and path not in self._taken:
            self._taken.add(path)
            self._add(path, include)

    def file(self, path: str) -> None:
        """Add a file of the tree."""
        self._add(path, path)

    def _add(self, path: str, name: str) -> None:
        content = _changed(without_comments(self._found[path], path), name, path)
        for define in _DEFINED.finditer(content):
            if define[1] in self._shim:
                line = content.count("\n", 0, define.start(1)) + 1
                message = f"{path}:{line}: {define[1]} is what the simulation defines here, with its stops."
                raise KernelError(message)
        at, line = 0, 1
        for include in _INCLUDE.finditer(content):
            if include[1] in WANTED:
                before = content[at : include.start()]
                self._parts.append(f'#line {line} "{path}"\n{without_reads(before)}\n')
                self.header(include[1])
                line += before.count("\n")
                at = include.end()
        self._parts.append(f'#line {line} "{path}"\n{without_reads(content[at:])}\n')


def _changed(content: str, name: str, path: str) -> str:
    for change in CHANGES:
        if change.file == name:
            content, count = re.subn(change.pattern, change.replacement, content)
            if change.needed and not count:
                message = f"{path} has nothing like {change.pattern}, which must be changed: {change.reason}."
                raise KernelError(message)
    parts: list[str] = []
    at = 0
    for asm in _ASM.finditer(content):
        if asm.start() >= at:
            end = _closing(content, asm.end() - 1)
            parts += [content[at : asm.start()], _instruction(content[asm.end() : end])]
            at = end + 1
    return "".join([*parts, content[at:]])


def _closing(content: str, opening: int) -> int:
    """Return the place of the parenthesis that closes the one at `opening`."""
    depth = 0
    for token in re.finditer(r'"(?:[^"\\\n]|\\.)*"|[()]', content[opening:]):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if not depth:
            return opening + token.start()
    return len(content)


def _instruction(inside: str) -> str:
    """Return the call that stands for an instruction, on as many lines; one that is not known is an outcome."""
    template = "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', inside.partition(":")[0]))
    operands = re.findall(r'"[^"]*"[ \t]*(\((?:[^()]|\([^()]*\))*\))', inside)
    lines = "\n" * inside.count("\n")
    squeezed = re.sub(r"\s", "", template)
    if squeezed == "invlpg(%0)" and len(operands) == 1:
        return f"kernel_asm_invlpg({operands[0]}){lines}"
    if squeezed in (".byte0x0f,0x01,0xfe", "invlpgb") and len(operands) == 3:
        return f"kernel_asm_invlpgb({', '.join(operands)}){lines}"
    if squeezed in (".byte0x0f,0x01,0xff", "tlbsync"):
        return f"kernel_asm_tlbsync(){lines}"
    return f'kernel_asm_unknown("{template}"){lines}'
