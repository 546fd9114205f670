"""The wheel works on its own: installed outside the checkout, it has the commands, the corpus and the types."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from shootdown import form

# One process of pytest-xdist runs all of these tests, so that the wheel is built once.
pytestmark = pytest.mark.xdist_group("wheel")

ROOT = Path(__file__).resolve().parent.parent
ROOMS = sorted(link.name for link in (ROOT / "shootdown").iterdir() if link.is_symlink())
TOUR = (
    "corpus list",
    "corpus show good_advice_flushes_without_its_vma",
    "replay good_advice_flushes_without_its_vma --policy linux",
    "policies linux",
    "table --policy linux",
    "lockstep --random 20 --policy linux",
)
CHECKOUT = {"PYTHONPATH", form.VARIABLE}
"""Variables that may refer to the modules of the checkout; an installation must not have them."""


@dataclass(frozen=True)
class Installation:
    """A virtual environment that holds the wheel, and an empty folder to run in."""

    wheel: Path
    environment: Path
    elsewhere: Path

    def run(self, command: str, *arguments: str, code: int = 0) -> str:
        """Return the standard output of an installed command that ends with an exit code."""
        result = subprocess.run(
            [self.environment / "bin" / command, *arguments],
            cwd=self.elsewhere,
            env={name: value for name, value in os.environ.items() if name not in CHECKOUT},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == code, result.stderr
        return result.stdout


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Return a fresh environment with the wheel, which borrows its dependencies from the running one.

    A folder that a .pth file names is searched, but its own .pth files are not read.
    So the editable installation, which is nothing but a .pth file, stays out of sight and no package is downloaded.
    The models are in the wheel in the form in which they run here.
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
    interpreted = {form.VARIABLE: "1"} if form.WHY_INTERPRETED else {}
    subprocess.run(build, check=True, capture_output=True, env=os.environ | interpreted)
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


def names_in(installation: Installation) -> set[str]:
    """Return the files of the wheel."""
    with zipfile.ZipFile(installation.wheel) as wheel:
        return set(wheel.namelist())


def test_wheel_holds_one_package(installation: Installation) -> None:
    """The top-level folders of the wheel are shootdown and its metadata."""
    folders = {name.split("/")[0] for name in names_in(installation)}

    metadata = {folder for folder in folders if folder.endswith(".dist-info")}
    assert len(metadata) == 1
    assert folders - metadata == {"shootdown"}


def test_wheel_is_typed(installation: Installation) -> None:
    """The package says that it is typed (py.typed)."""
    assert "shootdown/py.typed" in names_in(installation)


def test_wheel_holds_the_whole_corpus(installation: Installation) -> None:
    """Every scenario of the checkout is in the wheel, byte for byte."""
    scenarios = {
        f"shootdown/corpus/{path.name}": path.read_bytes()
        for path in (ROOT / "corpus").glob("*.txt")
    }
    with zipfile.ZipFile(installation.wheel) as wheel:
        shipped = {name: wheel.read(name) for name in wheel.namelist() if name.endswith(".txt")}

    assert scenarios
    assert scenarios == {name: shipped[name] for name in scenarios if name in shipped}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_imported_from_the_wheel(installation: Installation, room: str) -> None:
    """Outside the checkout, each room is the wheel's and not the checkout's."""
    location = installation.run(
        "python", "-c", f"import shootdown.{room} as room; print(room.__file__)"
    )

    assert Path(location.strip()).is_relative_to(installation.environment)


def test_the_installed_models_have_the_form_of_these(installation: Installation) -> None:
    """If the models are compiled here, they are in the wheel; if not, the version says why."""
    said = installation.run("shootdown", "--version")

    if form.WHY_INTERPRETED:
        assert said.rstrip().endswith(
            "(interpreted, because it was installed where there was no C compiler)"
        )
    else:
        assert said.rstrip().endswith("(compiled)")
        assert f"shootdown/mm/step{form.SUFFIX}" in names_in(installation)


@pytest.mark.parametrize("command", TOUR)
def test_the_tour_works_from_the_wheel(installation: Installation, command: str) -> None:
    """Commands of the README work without a checkout."""
    assert installation.run("shootdown", *command.split())


def test_a_campaign_runs_from_the_wheel(installation: Installation) -> None:
    """A campaign finds the defect of the posted series, and its finding is replayed."""
    fuzz = "fuzz --policy v1 --execs 300 --workers 1 --seed 1 --db found.db --quiet"
    installation.run("shootdown", *fuzz.split(), code=1)

    key = installation.run(
        "shootdown", "findings", "sql", "select key from findings limit 1", "--db", "found.db"
    ).split()[-1]
    installation.run("shootdown", "replay", key[:12], "--db", "found.db", code=1)


def test_installed_functions(installation: Installation) -> None:
    """The functions work without a checkout, and a campaign of theirs has workers."""
    program = (
        "import shootdown; print(shootdown.replay('bad_c2_v1_nx_promotion', 'v1').rule,"
        " shootdown.fuzz_policy('always', executions=50, seed=1, workers=2).quiet)"
    )

    assert installation.run("python", "-c", program).split() == ["C2", "True"]


def test_installed_help(installation: Installation) -> None:
    """The installed command explains itself and names its subcommands."""
    text = installation.run("shootdown", "--help")

    for command in ("fuzz", "replay", "findings", "policies"):
        assert command in text


def test_installed_policies(installation: Installation) -> None:
    """The installed command lists the policies, the posted series among them."""
    assert "v1" in installation.run("shootdown", "policies").split()
