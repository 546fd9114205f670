"""The form of the models: compiled ones run if they match the sources, and are never older than them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from building.compile import OPTIONS, modules
from shootdown import form

ROOT = Path(__file__).resolve().parent.parent
SUFFIX = form.SUFFIX


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder of sources with a compiled form of them."""
    for room in form.ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("")
    built = tmp_path / ".compiled"
    (built / "shootdown" / "mm").mkdir(parents=True)
    (built / "shootdown" / "mm" / f"step{SUFFIX}").write_text("")
    (built / form.STAMP).write_text(form.stamp_of(tmp_path))
    return tmp_path


def test_a_form_of_these_sources_runs(checkout: Path) -> None:
    """If nothing has changed, it runs: the times of the sources decide, or their contents if the times are new."""
    built = checkout / ".compiled"
    assert form.is_of(built, checkout)

    os.utime(checkout / "mm" / "__init__.py", ns=(1, 1))
    assert form.is_of(built, checkout)


@pytest.mark.parametrize("change", ["edited", "added", "removed", "no stamp", "broken stamp"])
def test_a_form_of_other_sources_does_not(checkout: Path, change: str) -> None:
    """A changed, a new and a missing file are each enough, and so is a form that does not say what it is of."""
    built, source = checkout / ".compiled", checkout / "mm" / "__init__.py"
    match change:
        case "edited":
            source.write_text("x = 1\n")
        case "added":
            source.with_name("new.py").write_text("")
        case "removed":
            source.unlink()
        case "no stamp":
            (built / form.STAMP).unlink()
        case _:
            (built / form.STAMP).write_text("[")

    assert not form.is_of(built, checkout)


def test_files_that_are_not_compiled_do_not_count(checkout: Path) -> None:
    """The command line may change without the models being compiled anew."""
    (checkout / "cli").mkdir()
    (checkout / "cli" / "main.py").write_text("")

    assert form.is_of(checkout / ".compiled", checkout)


def test_compiled_modules_are_found_by_name(checkout: Path) -> None:
    """A compiled module is found in the folder, every other one in its place."""
    finder = form.CompiledFinder(checkout / ".compiled")

    spec = finder.find_spec("shootdown.mm.step")
    assert spec is not None
    assert str(spec.origin).endswith(f".compiled/shootdown/mm/step{SUFFIX}")
    assert finder.find_spec("shootdown.mm.fork") is None


def test_sources_are_found_though_compiled_beside_them(tmp_path: Path) -> None:
    """In an installation the compiled module lies beside the source, which can still be chosen."""
    (tmp_path / "step.py").write_text("")
    (tmp_path / f"step{SUFFIX}").write_text("")
    finder = form.SourceFinder()

    spec = finder.find_spec("shootdown.mm.step", [str(tmp_path)])
    assert spec is not None
    assert spec.origin == str(tmp_path / "step.py")
    assert finder.find_spec("json") is None


def test_interpreted_on_demand() -> None:
    """SHOOTDOWN_INTERPRETED=1 runs the sources, and the version says why."""
    done = subprocess.run(
        [sys.executable, "-m", "shootdown", "--version"],
        env=os.environ | {form.VARIABLE: "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.rstrip().endswith("(interpreted, because SHOOTDOWN_INTERPRETED is set)")


def test_both_forms_do_the_same() -> None:
    """Where there is a compiled form, it shows what the sources show on the same inputs."""
    if form.WHY_INTERPRETED:
        assert form.advice().startswith("The models run interpreted")
        return
    done = subprocess.run(
        [sys.executable, "-m", "bench.compiled", "--scenarios", "10"],
        cwd=Path(form.__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert [json.loads(line)["compiled"] for line in done.stdout.splitlines()[:2]] == [False, True]


def test_the_models_need_no_package_to_be_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel that is built on its own has mypy but no package that the rooms import: mypyc's check still passes."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    monkeypatch.chdir(ROOT)
    python, cache = str(tmp_path / "bin" / "python"), str(tmp_path / "cache")
    bare = ["--python-executable", python, "--cache-dir", cache]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *bare, *OPTIONS, *modules()],
        # mypy treats the folders of PYTHONPATH as installed, and is silent about them.
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
