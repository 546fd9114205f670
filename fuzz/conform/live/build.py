"""The driver, compiled by the system's own compiler."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

from fuzz.conform.live.commands import SOURCE
from fuzz.conform.unusable import Unusable

COMPILERS: Final = ("cc", "gcc", "clang")
FLAGS: Final = ("-O2", "-pthread", "-x", "c", "-")
SECONDS: Final = 60


def compile_driver(folder: Path) -> Path:
    """Compile the driver into the folder, and return the program.

    CC of the environment names another compiler. Error: Unusable, when there is none, or it fails.
    """
    named = shlex.split(os.environ.get("CC", ""))
    compiler = named or [name for name in COMPILERS if shutil.which(name)][:1]
    if not compiler:
        raise Unusable(
            f"no C compiler is found (tried {', '.join(COMPILERS)}): install one, or name it with CC=."
        )
    program = folder / "driver"
    try:
        done = subprocess.run(
            [*compiler, "-o", str(program), *FLAGS],
            input=SOURCE,
            text=True,
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unusable(f"the C compiler {shlex.join(compiler)} cannot be used: {error}.") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[0]
        raise Unusable(f"the C compiler {shlex.join(compiler)} does not compile the driver: {said}")
    return program
