"""Writes requirements/pins.txt: what pip resolves for this project, one version per package and Python.

Usage: python requirements/resolve.py PYTHON... with one interpreter for each supported minor version.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SUPPORTED = ("3.11", "3.12", "3.13")
ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "requirements" / "pins.txt"
HEADER = """\
# Exact versions of everything that the virtual environment and `make docs` need, for pip install --constraint.
# Written by `make pins`; the bounds are in pyproject.toml. Names no index: pip uses the one that it is set up with.
"""


def minor_version(python: str) -> str:
    """The interpreter's version as "3.12"; OSError or CalledProcessError when it does not run."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def resolve(python: str) -> dict[str, str]:
    """Every package that an installation with the extras dev and docs needs under this interpreter, with its version.

    Resolved in a throw-away environment; nothing is installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "venv"
        report = Path(folder) / "report.json"
        subprocess.run([python, "-m", "venv", environment], check=True)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "-qq", "install", "--dry-run"]
        # pip asks the build for the metadata, and the build would compile the models first.
        quick = os.environ | {"SHOOTDOWN_INTERPRETED": "1"}
        command = [*pip, "--report", str(report), f"{ROOT}[dev,docs]"]
        subprocess.run(command, check=True, env=quick)
        installs = json.loads(report.read_text())["install"]
    packages = {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in installs}
    del packages["shootdown"]
    return packages


def lines(resolved: dict[str, dict[str, str]]) -> list[str]:
    """One constraint per package and version, sorted; a marker only where the Pythons differ.

    A package that only some Pythons need is pinned for all: a constraint installs nothing.
    """
    result = []
    for name in sorted({name for packages in resolved.values() for name in packages}):
        pythons: dict[str, list[str]] = {}
        for python, packages in sorted(resolved.items()):
            if name in packages:
                pythons.setdefault(packages[name], []).append(python)
        for version, minors in pythons.items():
            marker = " or ".join(f'python_version == "{minor}"' for minor in minors)
            result.append(f"{name}=={version}" + (f" ; {marker}" if len(pythons) > 1 else ""))
    return result


def main(pythons: list[str]) -> int:
    """0 when the pins are written; 2 when an interpreter is missing, 3 when pip fails, with one sentence."""
    found: dict[str, str] = {}
    for python in pythons:
        try:
            found[minor_version(python)] = python
        except (OSError, subprocess.CalledProcessError):
            print(f"{python} does not run.", file=sys.stderr)
    if sorted(found) != sorted(SUPPORTED):
        wanted = ", ".join(SUPPORTED)
        message = f'The pins need Python {wanted}: make pins PYTHONS="..." names one interpreter for each.'
        print(message, file=sys.stderr)
        return 2
    resolved = {}
    for version, python in sorted(found.items()):
        print(f"Resolving for Python {version}", flush=True)
        try:
            resolved[version] = resolve(python)
        except subprocess.CalledProcessError:
            print(f"pip resolves nothing for Python {version}, see above.", file=sys.stderr)
            return 3
    PINS.write_text(HEADER + "".join(f"{line}\n" for line in lines(resolved)))
    print(f"Wrote {PINS.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
