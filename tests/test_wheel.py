"""The wheel works on its own: installed outside the checkout, it has the commands, the corpus and the types."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

# One process of pytest-xdist runs all of them, so that the wheel is built once.
pytestmark = pytest.mark.xdist_group("wheel")

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("contract", "corpus", "fuzz", "machine", "mm", "optimized", "reference")


@dataclass(frozen=True)
class Installation:
    """A virtual environment that holds the wheel, and an empty folder to run in."""

    wheel: Path
    environment: Path
    elsewhere: Path

    def run(self, command: str, *arguments: str) -> str:
        """Standard output of an installed command that ends with exit code 0."""
        result = subprocess.run(
            [self.environment / "bin" / command, *arguments],
            cwd=self.elsewhere,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A fresh environment with the wheel, which borrows its dependencies from the running one.

    A folder that a .pth file names is searched, but its own .pth files are not read.
    So the editable installation, which is nothing but a .pth file, stays out of sight and no package is downloaded.
    """
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
    subprocess.run([*pip, "install", "-qq", "--no-index", "--no-deps", str(wheel)], check=True)
    paths = {"base": str(environment), "platbase": str(environment)}
    borrowed = sysconfig.get_path("purelib")
    Path(sysconfig.get_path("purelib", vars=paths), "borrowed.pth").write_text(f"{borrowed}\n")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    return Installation(wheel, environment, elsewhere)


def test_wheel_holds_the_packages_and_nothing_else(installation: Installation) -> None:
    """The top-level folders of the wheel are the six packages and its metadata."""
    with zipfile.ZipFile(installation.wheel) as wheel:
        folders = {name.split("/")[0] for name in wheel.namelist()}

    metadata = {folder for folder in folders if folder.endswith(".dist-info")}
    assert len(metadata) == 1
    assert folders - metadata == set(PACKAGES)


def test_wheel_is_typed(installation: Installation) -> None:
    """Every package with code says that it is typed (py.typed)."""
    with zipfile.ZipFile(installation.wheel) as wheel:
        names = set(wheel.namelist())

    assert {f"{package}/py.typed" for package in PACKAGES if package != "corpus"} <= names


def test_wheel_holds_the_whole_corpus(installation: Installation) -> None:
    """Every scenario of the checkout is in the wheel, byte for byte."""
    scenarios = {
        f"corpus/{path.name}": path.read_bytes() for path in (ROOT / "corpus").glob("*.txt")
    }
    with zipfile.ZipFile(installation.wheel) as wheel:
        shipped = {name: wheel.read(name) for name in wheel.namelist() if name.endswith(".txt")}

    assert scenarios
    assert scenarios == {name: shipped[name] for name in scenarios if name in shipped}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_imported_from_the_wheel(installation: Installation, package: str) -> None:
    """Outside the checkout, each package is the wheel's and not the checkout's."""
    location = installation.run("python", "-c", f"import {package}; print({package}.__file__)")

    assert Path(location.strip()).is_relative_to(installation.environment)


def test_installed_help(installation: Installation) -> None:
    """The installed command explains itself and names its subcommands."""
    text = installation.run("shootdown", "--help")

    for command in ("fuzz", "replay", "findings", "policies"):
        assert command in text


def test_installed_policies(installation: Installation) -> None:
    """The installed command lists the policies, the posted series among them."""
    assert "v1" in installation.run("shootdown", "policies").split()
