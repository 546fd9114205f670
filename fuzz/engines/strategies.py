"""Hypothesis strategies from which the Hypothesis engine and the property tests draw scenarios."""

from hypothesis import strategies as st

from shootdown.fuzz.inputs.pauses import OF_MODELS, Pauses
from shootdown.scenario.binary import WIDTH, decode
from shootdown.scenario.record import Scenario
from shootdown.scenario.switches import UNREAL


def scenarios(max_records: int = 32, pauses: Pauses = OF_MODELS) -> st.SearchStrategy[Scenario]:
    """Return a strategy for canonical scenarios on real machines, with these pauses.

    The strategy draws one value for each record, so that Hypothesis deletes whole records when it shrinks; it would not
    shrink a scenario that is drawn as one byte string.
    """
    word = st.binary(min_size=WIDTH, max_size=WIDTH)
    return st.builds(_scenario, st.just(pauses), word, st.lists(word, max_size=max_records))


def _scenario(pauses: Pauses, header: bytes, records: list[bytes]) -> Scenario:
    data = bytearray(header + b"".join(records))
    data[2] &= ~UNREAL & 0xFF
    pauses.fit(data)
    return decode(bytes(data))
