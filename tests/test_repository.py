"""Facts about the repository itself that no single module can state."""

import ast
import itertools
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 400

# Written so that this file does not match itself.
FOREIGN = {
    "a path of one machine": re.compile(r"(?<![\w.])/(?:work|root|home)/"),
    "the address of a package index": re.compile(r"[:]//\S+/simple\b|pypi\.org|pythonhosted\.org"),
    "an option that names a package index": re.compile(
        r"--(?:extra-)?index[-]url|--find[-]links|--trusted[-]host"
    ),
    "a lifted ban on clocks and random draws": re.compile(r"noqa[:].*\bTID251"),
}


def repository_files() -> list[Path]:
    """Return the files that git tracks or would track, as paths relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = sorted(set(filter(None, listed.split("\0"))))
    return [Path(name) for name in names if (ROOT / name).is_file()]


def pinned_versions() -> dict[str, str]:
    """Return the version that requirements/pins.txt gives each package under the running Python."""
    pins: dict[str, str] = {}
    for line in (ROOT / "requirements" / "pins.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate():
            (exact,) = pin.specifier
            assert exact.operator == "=="
            pins[canonicalize_name(pin.name)] = exact.version
    return pins


def needed_distributions() -> set[str]:
    """Return every distribution that the project with its dev extra needs under the running Python.

    pip is excluded, which sqlite-utils requires: it does the installation, so it exists before.
    """
    needed: set[str] = set()
    waiting = [("shootdown", frozenset({"dev"}))]
    while waiting:
        name, extras = waiting.pop()
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            wanted = [{"extra": extra} for extra in extras | {""}]
            if requirement.marker and not any(map(requirement.marker.evaluate, wanted)):
                continue
            dependency = canonicalize_name(requirement.name)
            if dependency not in needed:
                needed.add(dependency)
                waiting.append((dependency, frozenset(requirement.extras)))
    return needed - {"pip"}


@pytest.mark.parametrize("what", FOREIGN)
def test_no_file_names(what: str) -> None:
    """No file of the repository contains anything that would tie it to one machine or evade a rule."""
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in repository_files()
        for number, line in enumerate((ROOT / path).read_text(errors="replace").splitlines(), 1)
        if FOREIGN[what].search(line)
    ]

    assert found == []


def test_pins_name_no_address() -> None:
    """Every line of the pins is a comment or a bare requirement: no option, no address, no path."""
    lines = (ROOT / "requirements" / "pins.txt").read_text().splitlines()
    requirement = re.compile(
        r'[A-Za-z0-9._-]+==[A-Za-z0-9.]+( ; python_version == "3\.\d+"( or python_version == "3\.\d+")*)?'
    )

    assert [
        line for line in lines if not line.startswith("#") and not requirement.fullmatch(line)
    ] == []


def test_pins_cover_all_that_is_needed() -> None:
    """Every direct and indirect requirement under the running Python is pinned, at the version that is installed."""
    needed = needed_distributions()
    pins = pinned_versions()

    assert {name: metadata.version(name) for name in needed} == {
        name: pins.get(name) for name in needed
    }


def test_pins_are_within_the_bounds() -> None:
    """Every package that pyproject.toml asks for, with any extra, is pinned to a version that it allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [project["dependencies"], *project["optional-dependencies"].values()]
    pins = pinned_versions()

    for text in itertools.chain(*asked):
        requirement = Requirement(text)
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, text
        assert requirement.specifier.contains(pin), text


def test_no_python_file_is_too_long() -> None:
    """No Python file has more than 400 lines."""
    lengths = {
        str(path): len((ROOT / path).read_text().splitlines())
        for path in repository_files()
        if path.suffix == ".py"
    }

    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_every_test_states_its_fact() -> None:
    """Every test function has a docstring."""
    silent = [
        f"{path}:{node.lineno}: {node.name}"
        for path in repository_files()
        if path.match("tests/**/test_*.py")
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test") and not ast.get_docstring(node)
    ]

    assert silent == []


def test_integration_runs_the_tests_and_nothing_else() -> None:
    """The script for continuous integration is executable; it gets the kernel trees, and its last word is make test."""
    script = ROOT / ".ci" / "run"
    lines = script.read_text().splitlines()

    assert script.stat().st_mode & 0o111
    assert [line for line in lines if line.startswith("make")] == ["make trees", "make test"]
    assert lines[-1] == "make test"
