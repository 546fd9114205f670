"""Temporary folders of campaigns."""

import tempfile
from pathlib import Path

import pytest

from shootdown.fuzz.campaign.scratch import LOCK, PREFIX, Scratch, sweep


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder where temporary files are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_folder_goes_with_its_campaign(folder: Path) -> None:
    """A folder is removed when the campaign ends, unless it is to be kept; then it stays for good."""
    gone, kept = Scratch(), Scratch()
    (kept.path / "worker0.log").write_text("why")

    gone.close(keep=False)
    kept.close(keep=True)
    sweep(folder)

    assert list(folder.iterdir()) == [kept.path]
    assert [path.name for path in kept.path.iterdir()] == ["worker0.log"]


def test_next_campaign_removes_what_a_killed_one_has_left(folder: Path) -> None:
    """Among other folders it removes only that of a killed campaign: not that of a running one, and no
    foreign folder.
    """
    running = Scratch()
    killed, stranger = folder / f"{PREFIX}killed", folder / f"{PREFIX}stranger"
    killed.mkdir()
    stranger.mkdir()
    (killed / LOCK).touch()

    Scratch().close(keep=False)

    assert set(folder.iterdir()) == {running.path, stranger}
    running.close(keep=False)
