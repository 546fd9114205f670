"""Compile the hot path with mypyc.

    python -m building.compile FOLDER

puts the modules into the folder, where shootdown/form.py finds them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from mypyc.build import mypycify
from setuptools import setup
from setuptools.command.build_ext import build_ext

from shootdown import form

HOT: Final = (
    "contract/*.py",
    "machine/*.py",
    "mm/*.py",
    "reference/history.py",
    "reference/objects.py",
    "optimized/broadcast.py",
    "optimized/contexts.py",
    "optimized/deferral.py",
    "optimized/delivery.py",
    "optimized/feedback.py",
    "optimized/flush_func.py",
    "optimized/gathers.py",
    "optimized/global_asid.py",
    "optimized/huge_pages.py",
    "optimized/immediate.py",
    "optimized/page_tables.py",
    "optimized/shootdown.py",
    "optimized/state.py",
    "optimized/strategy.py",
    "optimized/switch.py",
    "kernel/notes.py",
    "kernel/state.py",
    "kernel/steps.py",
    "kernel/strategy.py",
    "run/execute.py",
    "run/oracle/*.py",
    "run/window.py",
    "fuzz/features.py",
    "prove/alive.py",
    "prove/canonical.py",
    "prove/hardware.py",
    "prove/moves.py",
    "prove/names.py",
    "prove/packing.py",
    "prove/promises.py",
    "prove/rotation.py",
    "prove/search.py",
    "prove/shortest.py",
    "prove/sparse.py",
    "prove/visited.py",
)
"""The modules in which a run spends its time. Seeded faults and users' policies are subclasses, and stay
interpreted.
"""

OPTIONS: Final = ("--strict", "--explicit-package-bases", "--follow-imports=silent")
"""Options for mypy. The package names what the rooms export, so mypy also reads rooms whose packages (click,
sqlite-utils) are missing when a wheel is built on its own; errors there do not concern the models.
"""

COMPILERS: Final = ("cc", "gcc", "clang")
GROUP: Final = "shootdown.models"
"""The library that contains all modules, so that they call each other directly."""
JOBS: Final = os.cpu_count() or 1
LEVEL: Final = "1"
"""Optimization: with one file for each module, at this level, the build takes a minute on two CPUs; with one file for
all, at level 3, it takes three. The former ran 2,510 and 2,560 executions a second, the latter 2,970 and 3,050, on a
machine whose speed varies.
"""


class ParallelBuild(build_ext):  # type: ignore[misc]  # setuptools has no types
    """Compiles as many C files at a time as there are CPUs."""

    def build_extensions(self) -> None:
        """Compile all extensions."""
        compile_some = self.compiler.compile

        def compile_all(sources: list[str], **options: object) -> list[str]:
            with ThreadPoolExecutor(JOBS) as pool:
                made = pool.map(lambda source: compile_some([source], **options), sources)
                return [name for names in made for name in names]

        self.compiler.compile = compile_all
        super().build_extensions()


def can_compile() -> bool:
    """Return whether there is a C compiler."""
    return any(map(shutil.which, COMPILERS))


def modules() -> list[str]:
    """Return the files to compile, below the current folder."""
    found = [path for pattern in HOT for path in sorted(Path("shootdown").glob(pattern))]
    return [str(path) for path in found if path.name != "__init__.py"]


def compile_into(target: Path) -> None:
    """Put a shared object for each module of HOT into a new folder, as shootdown/ROOM/MODULE.SUFFIX.

    The current folder has the sources in shootdown/.
    Errors: SystemExit, with the compiler's own words.
    """
    shutil.rmtree(target, ignore_errors=True)
    files = modules()
    with tempfile.TemporaryDirectory() as scratch:
        extensions = mypycify(
            [*OPTIONS, *files],
            opt_level=LEVEL,
            debug_level="0",
            multi_file=True,
            target_dir=scratch,
            group_name=GROUP,
        )
        for extension in extensions:
            # mypyc writes the headers of a group into its package, but includes them from elsewhere.
            extension.include_dirs.append(str(Path(scratch, *GROUP.split(".")[:-1])))
        setup(
            name="shootdown-models",
            packages=[],
            py_modules=[],
            ext_modules=extensions,
            cmdclass={"build_ext": ParallelBuild},
            script_args=[
                "-q",
                "build_ext",
                f"--build-lib={target}",
                f"--build-temp={scratch}",
                f"--parallel={JOBS}",
            ],
        )


def main() -> int:
    """Compile into the folder that the argument names, and record from which sources."""
    if not can_compile():
        print("make compile needs a C compiler; there is no cc, gcc or clang.", file=sys.stderr)
        return 2
    target = Path(sys.argv[1]).resolve()
    # The stamp is taken before the build: a source that is edited during the build is newer than the result.
    stamp = form.stamp_of(Path())
    compile_into(target)
    # A class that was compiled separately from its base fails only when it is loaded.
    names = [path.removesuffix(".py").replace(os.sep, ".") for path in modules()]
    load = "import importlib, sys; [*map(importlib.import_module, sys.argv[1:])]"
    (target / form.STAMP).write_text(stamp)
    done = subprocess.run([sys.executable, "-c", load, *names], check=False)
    if done.returncode:
        (target / form.STAMP).unlink()
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
