"""Compile the hot path with mypyc into a copy of the packages: `python requirements/compile.py .compiled`.

The copy is whole, so a PYTHONPATH that names it is all that a command needs; fuzz/compiled.py refuses one that is older
than the sources.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mypyc.build import mypycify
from setuptools import setup

from fuzz.compiled import DIGEST, PACKAGES, digest_of

HOT = (
    "contract/*.py",
    "machine/*.py",
    "mm/*.py",
    "reference/history.py",
    "reference/objects.py",
    "optimized/broadcast.py",
    "optimized/flush_func.py",
    "optimized/gather_end.py",
    "optimized/global_asid.py",
    "optimized/shootdown.py",
    "optimized/state.py",
    "optimized/strategy.py",
    "optimized/switch.py",
    "fuzz/execute.py",
    "fuzz/features.py",
    "fuzz/oracle.py",
    "fuzz/window.py",
    "fuzz/prove/alive.py",
    "fuzz/prove/canonical.py",
    "fuzz/prove/hardware.py",
    "fuzz/prove/moves.py",
    "fuzz/prove/names.py",
    "fuzz/prove/packing.py",
    "fuzz/prove/promises.py",
    "fuzz/prove/rotation.py",
    "fuzz/prove/search.py",
    "fuzz/prove/shortest.py",
    "fuzz/prove/sparse.py",
    "fuzz/prove/visited.py",
)
"""What a run spends its time in. Seeded faults and users' policies are subclasses, and stay interpreted."""


def main() -> int:
    """Compile into the folder that the argument names; what was there before is replaced."""
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        print("make compile needs a C compiler; there is no cc, gcc or clang.", file=sys.stderr)
        return 2
    target = Path(sys.argv[1])
    shutil.rmtree(target, ignore_errors=True)
    leave = shutil.ignore_patterns("__pycache__", "*.so")
    for package in PACKAGES:
        shutil.copytree(package, target / package, ignore=leave)
    hot = [
        str(path)
        for pattern in HOT
        for path in sorted(Path().glob(pattern))
        if path.name != "__init__.py"
    ]
    with tempfile.TemporaryDirectory() as scratch:
        options = ["--strict", "--explicit-package-bases", *hot]
        modules = mypycify(options, opt_level="3", debug_level="0", target_dir=scratch)
        where = ["--build-lib", str(target), "--build-temp", scratch]
        setup(
            name="shootdown-compiled",
            packages=[],
            py_modules=[],
            ext_modules=modules,
            script_args=["-q", "build_ext", *where],
        )
    # A class that was compiled apart from its base fails only when it is loaded.
    names = [path.removesuffix(".py").replace(os.sep, ".") for path in hot]
    load = "import importlib, sys; [*map(importlib.import_module, sys.argv[1:])]"
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", load, *names],
        env={**os.environ, "PYTHONPATH": str(target)},
        check=False,
    )
    if loaded.returncode:
        return loaded.returncode
    (target / DIGEST).write_text(digest_of(Path()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
