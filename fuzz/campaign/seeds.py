"""The scenarios of corpus/ as the first inputs of a campaign."""

import difflib
from collections.abc import Collection

from shootdown.scenario import Scenario, corpus, encode
from shootdown.scenario.switches import UNREAL
from shootdown.system.user_error import UserError


class UnknownSeed(UserError):
    """No scenario of the corpus has that name."""


def seed_corpus(exclude: Collection[str] = ()) -> tuple[bytes, ...]:
    """Return the corpus in its binary form, in the order of the names, without the excluded scenarios.

    A name is that of a file, with or without its suffix. The switches of machines that do not exist are off in all
    scenarios: every policy may fail on such a machine.
    Errors: UnknownSeed.
    """
    scenarios = corpus.load()
    for name in exclude:
        stem = name.removesuffix(corpus.SUFFIX)
        if scenarios.pop(stem, None) is None:
            close = difflib.get_close_matches(stem, corpus.texts(), n=2)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise UnknownSeed(f"The corpus has no scenario {stem!r} to leave out.{hint}")
    return tuple(encode(_on_real_hardware(parsed.scenario)) for parsed in scenarios.values())


def _on_real_hardware(scenario: Scenario) -> Scenario:
    header = scenario.header
    return Scenario(header._replace(machine=header.machine & ~UNREAL), scenario.records)
