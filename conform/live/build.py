"""The driver, compiled by the system's own compiler."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

from shootdown.conform.live.commands import SOURCE
from shootdown.system.unusable import Unusable

COMPILERS: Final = ("cc", "gcc", "clang")
FLAGS: Final = ("-O2", "-pthread", "-x", "c", "-")
SECONDS: Final = 60


def compile_driver(folder: Path) -> Path:
    """Compile the driver into the folder, and return the program.

    The environment variable CC names another compiler.
    Errors: Unusable, when there is no compiler, or it fails.
    """
    try:
        named = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise Unusable(f"CC is no command: {error}.") from None
    compiler = named or [name for name in COMPILERS if shutil.which(name)][:1]
    if not compiler:
        raise Unusable(
            f"no C compiler is found (tried {', '.join(COMPILERS)}): install one, or name it with CC=."
        )
    program, words = folder / "driver", shlex.join(compiler)
    try:
        done = subprocess.run(
            [*compiler, "-o", str(program), *FLAGS],
            input=SOURCE,
            text=True,
            errors="replace",
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )
    except OSError as error:
        raise Unusable(f"the C compiler {words} cannot be used: {error.strerror}.") from None
    except subprocess.TimeoutExpired:
        raise Unusable(f"the C compiler {words} takes more than {SECONDS} seconds.") from None
    if done.returncode or not program.exists():
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[0].rstrip(".")
        raise Unusable(f"the C compiler {words} does not compile the driver: {said}.")
    return program
