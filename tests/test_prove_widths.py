"""The widths in the key of a world: one that is too small for its values fails at import."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).resolve().parents[1] / "prove" / "widths.py").read_text()
WIDTHS = {
    name: int(width)
    for name, width in re.findall(r"^([A-Z_]+): Final = (\d+)$", TEXT, re.MULTILINE)
}


def imported(text: str) -> dict[str, object]:
    """Return what a module with this text defines."""
    names: dict[str, object] = {"__name__": "widths"}
    exec(compile(text, "widths.py", "exec"), names)  # noqa: S102 - a mutant of one of our own modules
    return names


def values(name: str) -> int:
    """Return how many values the part has."""
    counted = imported(TEXT)["_VALUES"]
    assert isinstance(counted, dict)
    return int(counted[name][1])


def test_every_width_says_how_many_values_it_is_for() -> None:
    """No width is stated without its values, and none is for fewer values than one bit."""
    counted = imported(TEXT)["_VALUES"]
    assert isinstance(counted, dict)
    assert counted.keys() == WIDTHS.keys()
    assert all(values(name) >= 2 for name in WIDTHS)


@pytest.mark.parametrize("name", sorted(WIDTHS))
def test_a_width_that_is_too_small_fails_at_import(name: str) -> None:
    """One bit fewer than the values need is refused with the name of the width."""
    needed = (values(name) - 1).bit_length()
    assert needed <= WIDTHS[name]
    narrow = re.sub(
        rf"^{name}: Final = \d+$", f"{name}: Final = {needed - 1}", TEXT, flags=re.MULTILINE
    )
    assert narrow != TEXT
    with pytest.raises(ValueError, match=rf"{name} has \d+ values, too many for {needed - 1} bits"):
        imported(narrow)
