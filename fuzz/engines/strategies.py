"""Hypothesis strategies: what the Hypothesis engine and the property tests draw scenarios from."""

from hypothesis import strategies as st

from shootdown.scenario.binary import WIDTH, decode
from shootdown.scenario.kinds import NO_DIRTY_REWALK
from shootdown.scenario.record import Scenario


def scenarios(max_records: int = 32) -> st.SearchStrategy[Scenario]:
    """Return a strategy for canonical scenarios without the switch ``no-dirty-rewalk``.

    It draws one value for each record, so that Hypothesis deletes whole records when it shrinks; a
    scenario drawn as one byte string is not shrunk at all.
    """
    word = st.binary(min_size=WIDTH, max_size=WIDTH)
    return st.builds(_scenario, word, st.lists(word, max_size=max_records))


def _scenario(header: bytes, records: list[bytes]) -> Scenario:
    sizes, layout, switches, tags = header
    switches &= ~NO_DIRTY_REWALK
    return decode(bytes((sizes, layout, switches, tags)) + b"".join(records))
