"""The flush machinery of a kernel's text: arch/x86/mm/tlb.c and mm/mmu_gather.c, whole, compiled into one library.

The headers that they need are put in the place of their #include (kernel/splicer.py); the others are left out, and
kernel/shim/machinery has what the text uses of them.
"""

import re
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from shootdown.kernel.checked import checked
from shootdown.kernel.compiler import (
    cached,
    compiler_version,
    digest_of,
    refuse_imports,
    run_compiler,
    run_tool,
)
from shootdown.kernel.known_texts import rendered
from shootdown.kernel.rule import options_of
from shootdown.kernel.splicer import CHANGES, FLUSHING, GATHERING, WANTED, Splicer, paths_of
from shootdown.kernel.text import MAKEFILE, KernelError, Text, release_of, shown

FIRST: Final = ("asm/pgtable_types.h", "asm/mmu.h")
"""The headers that come before the structures of kernel/shim/machinery/mm.h, which contain theirs."""
THEN: Final = ("asm/tlbbatch.h", "asm/tlbflush.h", "asm/tlb.h")
CONFIGURATION: Final = (
    "MMU_GATHER_TABLE_FREE",
    "MMU_GATHER_RCU_TABLE_FREE",
    "MMU_GATHER_MERGE_VMAS",
    "ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH",
    "BROADCAST_TLB_FLUSH",
)
"""The options that are set beside those of a rule (kernel/rule.py)."""


NEEDED: Final = (
    *dict.fromkeys(each.file for each in CHANGES if each.needed),
    "asm/mmu.h",
    "asm-generic/tlb.h",
)
"""The headers that are changed or looked into, without which nothing else is tried."""


@dataclass(frozen=True, slots=True)
class Machinery:
    """The machinery of a text.

    `library`: compiles it for a number of ASIDs in one of the forms of FORMS, or takes it from the cache.
    `sources`: its files.
    `release`: the kernel's, from its Makefile, or else a word for the place of the text.
    `digest`: equal for texts that differ in comments and blanks only, with equal options.
    `build`: equal for equal text, options, shim and compiler.
    """

    library: Callable[[int, str], Path]
    release: str
    digest: str
    build: str
    sources: dict[str, str]


FILES: Final = (
    MAKEFILE,
    FLUSHING,
    GATHERING,
    *(path for include in WANTED for path in paths_of(include)),
)
"""The files that are read, as far as a tree has them."""


def machinery_of(text: Text, options: Collection[str] = ()) -> Machinery:
    """Return the machinery of a text.

    `options`: the options that are set beside those of kernel/rule.py and CONFIGURATION; with DEBUG_VM more assertions
    of the text are outcomes of a run.
    Errors: KernelError, when the text has no machinery, or one that does not compile.
    """
    found = text.read(FILES)
    release = release_of(found.pop(MAKEFILE, "")) or text.word
    for name in (FLUSHING, GATHERING):
        if name not in found:
            raise KernelError(f"{shown(text.path)} has no {name}, where flushes are made.")
    for include in NEEDED:
        path, *others = paths_of(include)
        if not {path, *others} & found.keys():
            raise KernelError(f"{shown(text.path)} has no {path}, which {FLUSHING} needs.")
    shim = {
        name: files("shootdown.kernel").joinpath("shim", "machinery", name).read_text()
        for name in ("text.h", "primitives.h", "mm.h", "core.c", "accesses.c")
    }
    key = {
        **found,
        **shim,
        "options": " ".join(sorted(options)),
        "compiler": compiler_version(),
        **{file.name: file.read_text() for file in Path(__file__).parent.glob("*.py")},
    }

    @cache
    def library(asids: int, form: str) -> Path:
        def make(folder: Path) -> None:
            _build(folder, found, shim, FORMS[form], [*options, *CONFIGURATION], asids)

        return cached({**key, "asids": str(asids), "form": form}, "machinery.so", make)

    digest = digest_of({"text": rendered(found), "options": " ".join(sorted(options))})
    build = library(2, PLAIN).parent.name
    return Machinery(library, release, digest, build, found)


_OPTIONS: Final = (
    "-std=gnu11",
    "-O2",
    "-g1",
    "-fPIC",
    "-fvisibility=hidden",
    "-nostdinc",
    "-fno-builtin",
    "-fno-stack-protector",
    # A large frame touches each page of it, so that none of it is beyond the page that guards the stack.
    "-fstack-clash-protection",
    "-fcf-protection=none",
    "-fno-strict-aliasing",
    "-fno-delete-null-pointer-checks",
    "-fno-tree-loop-distribute-patterns",
    "-fno-common",
    "-Werror=return-type",
    # The headers have functions that nothing here calls, the rule among them, and these call what is not compiled here.
    "-Wno-error=implicit-function-declaration",
)
PLAIN: Final = "plain"
REPORTED: Final = "reported"
WATCHED: Final = "watched"
FORMS: Final = {
    PLAIN: (),
    # Each access of the text to memory calls a function of accesses.c before.
    REPORTED: ("-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0"),
    # The parts of the text are those of its source, and each says that it runs.
    WATCHED: ("-O0", "-fsanitize-coverage=trace-pc"),
}
"""The forms of a library, which all make the same runs, with the compiler's options for the text: for campaigns and
proofs; for the search for accesses without a stop; for runs that a person looks at.
"""


def _build(
    folder: Path,
    found: dict[str, str],
    shim: dict[str, str],
    of_text: tuple[str, ...],
    configuration: Collection[str],
    asids: int,
) -> None:
    splicer = Splicer(found)
    for name in ("text.h", "primitives.h"):
        splicer.shim(name, shim[name])
    for include in FIRST:
        splicer.header(include)
    splicer.shim("mm.h", shim["mm.h"])
    for include in THEN:
        splicer.header(include)
    headers = splicer.text()
    for file in (FLUSHING, GATHERING):
        splicer.file(file)
    (folder / "text.c").write_text(splicer.text())
    (folder / "core.c").write_text(headers + '#line 1 "core.c"\n' + shim["core.c"])
    (folder / "accesses.c").write_text(shim["accesses.c"])
    options = [
        *options_of(configuration),
        f"-DSHOOTDOWN_ASIDS={asids}",
        *_probed(found),
    ]

    def compiled(part: tuple[str, tuple[str, ...]]) -> str:
        name, more = part
        prefix = f"-ffile-prefix-map={folder}=."
        chosen = [*_OPTIONS, prefix, *options, *more]
        try:
            unit = checked(f"{name}.c", chosen, folder, frozenset(shim))
            run_compiler([*chosen, "-c", unit, "-o", f"{name}.o"], folder)
        except KernelError as error:
            place, _, said = str(error).partition(": ")
            if place.partition(":")[0] not in shim:
                raise
            raise KernelError(
                f"The text does not fit what stands for the kernel around it: {said}"
            ) from None
        # All that the text changes is in one block, also its own static variables.
        run_tool("objcopy", [*_TO_ARENA, f"{name}.o"], folder)
        return f"{name}.o"

    parts = (("text", of_text), ("core", ()), ("accesses", ()))
    with ThreadPoolExecutor() as pool:
        objects = list(pool.map(compiled, parts))
    run_compiler([*_LINKED, "-o", "machinery.so", *objects], folder)
    refuse_imports(folder / "machinery.so")


_LINKED: Final = (
    "-shared",
    "-nostdlib",
    "-g1",
    "-Wl,-z,defs",
    "-Wl,-z,noexecstack",
    "-Wl,-z,max-page-size=0x10000",
)
_TO_ARENA: Final = (
    *(
        f"--rename-section={section}=arena"
        for section in (".data", ".data.rel", ".data.rel.local", ".data..read_mostly")
    ),
    "--rename-section=.bss=arena,alloc,load,data,contents",
)
"""What puts every section with variables into one."""


def _probed(found: dict[str, str]) -> list[str]:
    """Return what the core has to know of the text: the signatures that differ between releases."""
    tlbflush = found["arch/x86/include/asm/tlbflush.h"]
    generic = found["include/asm-generic/tlb.h"]
    mmu = found["arch/x86/include/asm/mmu.h"]
    probed = {
        "BATCH_ADD_ARGUMENTS": _arguments("arch_tlbbatch_add_pending", tlbflush),
        "REMOVE_PAGE_ARGUMENTS": _arguments("__tlb_remove_page_size", generic),
        "LEAVE_MM_ARGUMENTS": _arguments("leave_mm", mmu),
    }
    if re.search(r"\buse_temporary_mm\(struct", found[FLUSHING]):
        probed["HAS_USE_TEMPORARY_MM"] = 1
    if "unmapped_pages" in found.get("arch/x86/include/asm/tlbbatch.h", ""):
        probed["HAS_UNMAPPED_PAGES"] = 1
    if "CONFIG_BROADCAST_TLB_FLUSH" in tlbflush:
        probed["CONFIG_BROADCAST_TLB_FLUSH_IN_TREE"] = 1
    return [f"-D{name}={value}" for name, value in probed.items()]


def _arguments(function: str, text: str) -> int:
    """Return the number of arguments in the first declaration of a function, 0 if there is none."""
    declared = re.search(rf"\b(?:void|bool)\s+{function}\(([^)]*)\)", text)
    if not declared or declared[1].strip() in ("", "void"):
        return 0
    return declared[1].count(",") + 1
