"""The compiled tree: it is refused when it is not of these sources, and for code coverage."""

from pathlib import Path

import pytest

from fuzz import compiled
from fuzz.cli import main


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of sources with a compiled tree in it, on which this process seems to run."""
    for package in compiled.PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    built = tmp_path / ".compiled"
    built.mkdir()
    (built / compiled.DIGEST).write_text(compiled.digest_of(tmp_path))
    monkeypatch.setattr(compiled, "_HERE", built)
    return tmp_path


def test_a_checkout_is_not_compiled() -> None:
    """The sources themselves are never stale."""
    assert not compiled.is_compiled()
    compiled.refuse_stale()


def test_a_tree_of_these_sources_runs(tree: Path) -> None:
    """Nothing is said about it."""
    assert tree.exists()
    assert compiled.is_compiled()
    compiled.refuse_stale()
    assert main.run(["policies", "linux"]) == 0


def test_a_tree_of_other_sources_is_refused(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed, a new and a renamed file are each enough; one sentence names what to do."""
    (tree / "mm" / "new.py").write_text("")

    assert main.run(["policies"]) == 2
    assert "`make compile` compiles it anew." in capsys.readouterr().err

    (tree / "mm" / "new.py").rename(tree / "mm" / "newer.py")
    with pytest.raises(compiled.StaleTree):
        compiled.refuse_stale()


def test_no_code_coverage_of_a_compiled_tree(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compiled models have no bytecode to instrument."""
    assert tree == tmp_path
    code = main.run(
        ["fuzz", "--policy", "v1", "--engine", "coverage", "--db", str(tmp_path / "f.db")]
    )

    assert code == 2
    assert "compiled" in capsys.readouterr().err
    assert not (tmp_path / "f.db").exists()
