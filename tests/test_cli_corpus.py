"""`shootdown corpus`: the scenarios that ship with the tool, by name."""

from pathlib import Path

import pytest

from shootdown.scenario import corpus
from tests.command import complaint, document, inside

STORY = "bad_c2_v1_nx_promotion"


def test_list_names_every_scenario(tmp_path: Path) -> None:
    """Each scenario has a line, and in JSON its story and what it must show."""
    out = inside(tmp_path, "corpus", "list").out
    assert len(corpus.texts()) > 200
    assert all(name in out for name in corpus.texts())

    listed = {each["name"]: each for each in document(tmp_path, "corpus", "list")}
    assert listed.keys() == corpus.texts().keys()
    assert {"policy": "v1", "rule": "C2", "reason": "denied-though-allowed"} in listed[STORY][
        "expectations"
    ]


@pytest.mark.parametrize("name", [STORY, f"{STORY}.txt"])
def test_show_prints_the_text(tmp_path: Path, name: str) -> None:
    """The text is that of the file, byte for byte, with or without the suffix in the name."""
    assert inside(tmp_path, "corpus", "show", name).out == corpus.texts()[STORY]


def test_a_name_that_is_none(tmp_path: Path) -> None:
    """One sentence says so, with a name that is like it."""
    line = complaint(tmp_path, "corpus", "show", "bad_c2_v1_nx_promotions")
    assert line.startswith(
        f"shootdown: The corpus has no scenario 'bad_c2_v1_nx_promotions'. Did you mean {STORY}"
    )


def test_replay_takes_a_name(tmp_path: Path) -> None:
    """A scenario of the corpus is replayed by its name, where there is no checkout."""
    ended = inside(tmp_path, "replay", STORY, "--policy", "v1")
    assert (ended.code, "C2 denied-though-allowed" in ended.out) == (1, True)
    assert ended.out.splitlines()[-1] == f"  shootdown replay {STORY} --policy v1"
