"""The source of a scenario: its text, the corpus, or a file of the user."""

import difflib
from pathlib import Path
from typing import Final

from shootdown.scenario import corpus
from shootdown.scenario.binary import decode
from shootdown.scenario.text import ParsedScenario, ScenarioError, parse
from shootdown.system.user_error import UserError

LONGEST_BINARY: Final = 1 << 16
BINARY_SUFFIX: Final = ".bin"


class UnusableScenario(UserError):
    """The user's input is not a scenario, or cannot be read."""


def find_scenario(given: str | Path) -> ParsedScenario:
    """Return the scenario that is given as a text, as a name in the corpus, or as the path of a file.

    Only a text has a line break.
    Errors: UnusableScenario.
    """
    if isinstance(given, Path):
        return read_scenario(str(given))
    if "\n" in given:
        return _parsed(given, "The text is no scenario")
    known = corpus.texts()
    if given in known:
        return parse(known[given])
    # Path("") is the current folder.
    if given and Path(given).exists():
        return read_scenario(given)
    raise UnusableScenario(
        f"There is no file {given!r}, and no scenario of the corpus.{_hint(given)}"
    )


def corpus_text(name: str) -> str:
    """Return the text of a scenario of the corpus, whose name may have its suffix.

    Errors: UnusableScenario.
    """
    text = corpus.texts().get(name.removesuffix(corpus.SUFFIX))
    if text is None:
        raise UnusableScenario(f"The corpus has no scenario {name!r}.{_hint(name)}")
    return text


def _hint(name: str) -> str:
    close = difflib.get_close_matches(name, corpus.texts(), n=2)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def read_scenario(path: str) -> ParsedScenario:
    """Return the scenario in a file: its text form, or a fuzzer's input if the name ends in `.bin`.

    Every byte string is a fuzzer's input, so only the name may decide: a text in another encoding would run as
    something that its author never wrote.
    Errors: UnusableScenario.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UnusableScenario(f"{path} cannot be read: {error.strerror}.") from None
    if path.endswith(BINARY_SUFFIX):
        if len(data) > LONGEST_BINARY:
            raise UnusableScenario(
                f"{path} is no scenario: it has {len(data):,} bytes, and no fuzzer's input has more than"
                f" {LONGEST_BINARY:,}."
            )
        return ParsedScenario(decode(data))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnusableScenario(
            f"{path} is no scenario: it is not UTF-8 text, and the name of a fuzzer's binary input ends in"
            f" {BINARY_SUFFIX}."
        ) from None
    return _parsed(text, path)


def _parsed(text: str, what: str) -> ParsedScenario:
    try:
        return parse(text)
    except ScenarioError as error:
        raise UnusableScenario(f"{what}, {error}.") from None
