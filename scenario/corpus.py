"""The scenarios that ship with the tool: stories with a known verdict, and the first seeds of a campaign."""

from importlib.resources import files

from shootdown.scenario.text import ParsedScenario, parse

SUFFIX = ".txt"


def texts() -> dict[str, str]:
    """Return the text of each scenario of the corpus by its name, sorted; the name is that of the file
    without suffix.
    """
    found = {
        file.name.removesuffix(SUFFIX): file.read_text(encoding="utf-8")
        for file in files("shootdown.corpus").iterdir()
        if file.name.endswith(SUFFIX)
    }
    return dict(sorted(found.items()))


def load() -> dict[str, ParsedScenario]:
    """Return the scenarios of the corpus by name, sorted: good_* are legal, bad_RULE_* break RULE."""
    return {name: parse(text) for name, text in texts().items()}
