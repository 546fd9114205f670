"""What is compiled of an untrusted text has been looked at, in the form in which it is compiled.

The compiler's own options decide conditions and macros of a text too (__OPTIMIZE__, __SANITIZE_THREAD__), so that the
same text with other options is another text. The compiler gets what the preprocessor has printed, and not the text.
"""

from collections.abc import Collection
from pathlib import Path

from shootdown.kernel.compiler import run_compiler
from shootdown.kernel.directives import refuse_code


def checked(unit: str, options: Collection[str], folder: Path, trusted: frozenset[str]) -> str:
    """Return the name of a file that is a unit after the preprocessor, and that has no code which is refused.

    `options`: those with which the file is compiled after that.
    `trusted`: the files that are not looked at.
    Errors: KernelError.
    """
    name = f"{Path(unit).stem}.i"
    run_compiler(["-E", "-fno-working-directory", *options, "-o", name, unit], folder)
    refuse_code((folder / name).read_text(encoding="utf-8", errors="replace"), trusted)
    return name
