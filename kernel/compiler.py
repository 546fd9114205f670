"""The C compiler of the machine, which runs in its own folder, and a cache of its results."""

import re
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from shootdown.kernel.cache import cached, digest_of
from shootdown.kernel.limited import LARGEST_OUTPUT, MEMORY, SECONDS, TimedOut, run_limited
from shootdown.kernel.text import KernelError, printable

__all__ = [
    "cached",
    "compiler",
    "compiler_version",
    "digest_of",
    "places_of",
    "refuse_imports",
    "run_compiler",
]

_ERROR: Final = re.compile(r"^(.*?):(\d+):(?:\d+:)? (?:fatal )?error: (.*)$", re.MULTILINE)
_EXPANSION: Final = re.compile(r"^(.*?):(\d+):(?:\d+:)? note: in expansion of macro", re.MULTILINE)
_LONGEST: Final = 160
"""The limit in characters for what gcc says in a complaint: it repeats names of the text."""
_KILLED: Final = re.compile(
    r"terminated program|out of memory|virtual memory exhausted|File too large|^$"
)
_TWICE: Final = re.compile(r"multiple definition of [`']?(\w+)")
_UNDEFINED: Final = re.compile(r"undefined (?:reference to|symbol:) [`']?(\w+)")


def compiler() -> str:
    """Return the path of gcc.

    Errors: KernelError, when there is none.
    """
    found = shutil.which("gcc")
    if not found:
        raise KernelError("The kernel's C is compiled with gcc, and there is none on this machine.")
    return found


@cache
def compiler_version() -> str:
    """Return the version line of gcc."""
    return _run([compiler(), "--version"], Path("/")).partition("\n")[0]


def run_compiler(arguments: list[str], folder: Path) -> str:
    """Return the output of gcc, which runs in a folder.

    Errors: KernelError, with the compiler's first complaint, which names the tree's file and line.
    """
    return _run([compiler(), *arguments], folder)


def run_tool(name: str, arguments: list[str], folder: Path) -> str:
    """Return the output of a program of binutils, which runs in a folder.

    Errors: KernelError.
    """
    tool = shutil.which(name)
    if not tool:
        raise KernelError(f"The kernel's C needs {name} (binutils), which is not on this machine.")
    return _run([tool, *arguments], folder)


def _run(command: list[str], folder: Path) -> str:
    try:
        done = run_limited(command, folder)
    except TimedOut:
        raise KernelError(f"gcc has not finished after {SECONDS} s.") from None
    except OSError as error:
        raise KernelError(f"gcc cannot run: {error.strerror}.") from None
    if done.code:
        raise KernelError(_complaint(done.err))
    return done.out


def _complaint(printed: str) -> str:
    error = _ERROR.search(printed)
    if error:
        # An error in a macro of the shim is reported at the place in the tree where the macro is expanded.
        outer = _EXPANSION.findall(printed[error.end() :].partition("error:")[0])
        file, line = outer[-1] if outer else (error[1], error[2])
        return f"{printable(file)}:{line}: {_short(error[3])}."
    missing = _UNDEFINED.search(printed)
    if missing:
        return f"The text uses {_short(missing[1])}, which is defined nowhere in it."
    twice = _TWICE.search(printed)
    if twice:
        return f"{_short(twice[1])} is defined twice, by the text and by what stands for the kernel around it."
    if _KILLED.search(printed):
        return f"gcc needs more than {SECONDS} s, {MEMORY >> 30} GiB of memory or {LARGEST_OUTPUT >> 20} MiB of a file."
    return f"gcc fails: {_short(printed.strip().partition(chr(10))[0])}."


def _short(words: str) -> str:
    shown = printable(words)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + " ..."


def places_of(library: Path, addresses: Sequence[int]) -> list[tuple[str, str]]:
    """Return the function and the place, as `file:line`, of addresses in a library; [] without addr2line."""
    return [frames[0] for frames in frames_of(library, addresses)]


def frames_of(library: Path, addresses: Sequence[int]) -> list[list[tuple[str, str]]]:
    """Return for each address the function and the place, and those into which that function is inlined."""
    tool = shutil.which("addr2line")
    if not tool or not addresses:
        return []
    printed = _run(
        [tool, "-a", "-f", "-i", "-e", str(library), *map(hex, addresses)], library.parent
    )
    found: list[list[tuple[str, str]]] = []
    lines = iter(printed.splitlines())
    for line in lines:
        if line.startswith("0x"):
            found.append([])
        else:
            place = next(lines).partition(" (discriminator")[0]
            found[-1].append((line, re.sub(r"^(\./)+", "", place)))
    return found


def refuse_imports(library: Path) -> None:
    """Raise KernelError if a library would be linked with anything of the process that loads it, weakly or not."""
    tool = shutil.which("nm")
    if not tool:
        raise KernelError(
            "What gcc has made is looked at with nm (binutils), which is not on this machine."
        )
    printed = _run([tool, "--dynamic", "--undefined-only", str(library)], library.parent)
    names = [line.split()[-1] for line in printed.splitlines() if line.strip()]
    if names:
        raise KernelError(f"The text uses {names[0]}, which is defined nowhere in it.")
