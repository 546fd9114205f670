"""Hypothesis strategies from which the Hypothesis engine and the property tests draw scenarios."""

from hypothesis import strategies as st

from shootdown.scenario.binary import WIDTH, decode
from shootdown.scenario.record import Scenario
from shootdown.scenario.switches import UNREAL


def scenarios(max_records: int = 32) -> st.SearchStrategy[Scenario]:
    """Return a strategy for canonical scenarios on real machines.

    The strategy draws one value for each record, so that Hypothesis deletes whole records when it shrinks; it would not
    shrink a scenario that is drawn as one byte string.
    """
    word = st.binary(min_size=WIDTH, max_size=WIDTH)
    return st.builds(_scenario, word, st.lists(word, max_size=max_records))


def _scenario(header: bytes, records: list[bytes]) -> Scenario:
    sizes, layout, switches, tags = header
    return decode(bytes((sizes, layout, switches & ~UNREAL, tags)) + b"".join(records))
