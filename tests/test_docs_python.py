"""The examples of docs/python.md do what the page says."""

import doctest
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import BLOCK, page

PAGE = "docs/python.md"
NAME = "# "


def blocks(language: str) -> list[str]:
    """Return the blocks of the page in a language, in order."""
    return [block for marked, block in BLOCK.findall(page(PAGE)) if marked == language]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a reader who has saved the files that the page shows: their first line is the name."""
    for block in blocks("python"):
        first, _, rest = block.partition("\n")
        (tmp_path / first.removeprefix(NAME)).write_text(rest)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_sessions(folder: Path) -> None:
    """Typed in one after another, the examples show the output below them."""
    assert (folder / "mine.py").exists()
    text = "".join(blocks("pycon"))
    examples = doctest.DocTestParser().get_doctest(text, {}, PAGE, PAGE, 0)
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(examples, out=said.append)

    assert len(examples.examples) > 20
    assert "".join(said) == ""


def test_pytest_file(folder: Path) -> None:
    """The test file of the page passes, with the one failure that it expects."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "3 passed, 1 xfailed" in done.stdout, done.stdout
