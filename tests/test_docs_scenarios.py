"""docs/scenarios.md explains each word of a scenario, as its declaration does."""

import re

from shootdown.mm.operations import BY_NAME
from shootdown.mm.step import MEANINGS, STEP_POINTS, points_of_models
from shootdown.scenario import kinds
from shootdown.scenario.switches import DECLARED
from tests.test_docs import page, rows

PAGE = "docs/scenarios.md"


def first_words() -> list[str]:
    """Return what stands between backticks at the beginning of a table row, for each row of the page."""
    return re.findall(r"^\| `([^`\n]+)` \|", page(PAGE), re.MULTILINE)


def test_every_word_of_scenarios_is_explained() -> None:
    """The tables of docs/scenarios.md name each layout, switch and record that is not an operation once.

    So they do for the points; the operations have a page of their own.
    """
    text = page(PAGE)
    words = [word for word in first_words() if re.fullmatch(r"[a-z_0-9-]+", word)]

    others = {kind.name for kind in kinds.KINDS} - BY_NAME.keys()
    assert sorted(words) == sorted([*kinds.LAYOUTS, *kinds.SWITCHES, *others, *STEP_POINTS])
    assert "`until window`" in text
    switches = [f"| `{each.name}` | {each.summary} |" for each in DECLARED]
    assert [row for row in switches if row not in text] == []


def test_every_point_has_its_meaning() -> None:
    """The table of docs/scenarios.md says of each point what the declaration says, in the same order.

    The text names the points that only a kernel's own C has.
    """
    text = page(PAGE)
    table = "\n".join(f"| `{point}` | {meaning} |" for point, meaning in MEANINGS.items())
    only_in_c = [f"`{point}`" for point in STEP_POINTS if point not in points_of_models()]

    assert table in text
    assert f"pause at no {', '.join(only_in_c[:-1])} or {only_in_c[-1]}: only" in text


def test_every_choice_of_the_hardware_is_explained() -> None:
    """The row of a record that is not an operation names each argument that the record may have."""
    cells = dict(rows(page(PAGE), 2))
    missing = [
        (kind.name, name)
        for kind in kinds.KINDS
        if kind.name not in BY_NAME
        for name in filter(None, kind.argument.names)
        if f"`{name}`" not in cells[f"`{kind.name}`"]
    ]

    assert missing == []
