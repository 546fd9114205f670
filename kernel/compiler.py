"""The C compiler of the machine, which runs in its own folder, and a cache of its results."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from shootdown.kernel.text import KernelError

_SECONDS: Final = 60
"""The time limit: a rule compiles in a tenth of a second, mm/mmu_gather.c in one; longer texts are no kernel's."""
_ERROR: Final = re.compile(r"^(.*?):(\d+):(?:\d+:)? (?:fatal )?error: (.*)$", re.MULTILINE)
_EXPANSION: Final = re.compile(r"^(.*?):(\d+):(?:\d+:)? note: in expansion of macro", re.MULTILINE)
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
    # No environment variable of the user may add a path or an option.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TMPDIR": str(folder)}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise KernelError(f"gcc has not finished after {_SECONDS} s.") from None
    except OSError as error:
        raise KernelError(f"gcc cannot run: {error.strerror}.") from None
    if done.returncode:
        raise KernelError(_complaint(done.stderr))
    return done.stdout


def _complaint(printed: str) -> str:
    error = _ERROR.search(printed)
    if error:
        # An error in a macro of the shim is reported at the place in the tree where the macro is expanded.
        outer = _EXPANSION.findall(printed[error.end() :].partition("error:")[0])
        file, line = outer[-1] if outer else (error[1], error[2])
        return f"{file}:{line}: {error[3]}."
    missing = _UNDEFINED.search(printed)
    if missing:
        return f"The text uses {missing[1]}, which is defined nowhere in it."
    return f"gcc fails: {printed.strip().partition(chr(10))[0] or 'it says nothing'}."


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
            found[-1].append((line, next(lines).partition(" ")[0].removeprefix("./")))
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


def cached(key: Mapping[str, str], name: str, make: Callable[[Path], None]) -> Path:
    """Return the path of a file that `make` has put into a folder, now or in an earlier run with an equal key.

    A build is complete or absent, even after an interruption, and any number of processes may need the same one.
    Errors: KernelError, of `make`, and when the folder cannot be written.
    """
    digest = digest_of(key)
    try:
        root = _root()
        folder = root / digest
        if not (folder / name).exists():
            with tempfile.TemporaryDirectory(dir=root, prefix="unfinished-") as unfinished:
                build = Path(unfinished, digest)
                build.mkdir()
                make(build)
                try:
                    build.rename(folder)
                except OSError:
                    # Another process was faster, and its build is the same.
                    if not (folder / name).exists():
                        raise
    except OSError as error:
        where = error.filename or "the cache"
        raise KernelError(f"{where} cannot be written: {error.strerror}.") from None
    return folder / name


def digest_of(key: Mapping[str, str]) -> str:
    """Return 16 hexadecimal digits that are equal only for equal keys."""
    digest = hashlib.sha256()
    for name, content in sorted(key.items()):
        for part in (name, content):
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()[:16]


def _root() -> Path:
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".cache"
    root = base / "shootdown" / "kernel"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return root
