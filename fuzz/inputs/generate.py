"""Random scenarios with plausible weights: the inputs of the plain random engine, and first seeds.

The weights are a judgement about what leads to stale entries, not a measurement: half of the
operations are accesses, because only an access fills a TLB or shows what is in it; few CPUs and few
pages, because the bugs that Linux had need two or three CPUs and meet on one page.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from shootdown.fuzz.inputs.draws import Draws
from shootdown.fuzz.inputs.pauses import OF_MODELS, Pauses
from shootdown.fuzz.inputs.race_round import OPERATIONS
from shootdown.fuzz.inputs.races import race_scenario
from shootdown.fuzz.inputs.schedule import lockstep, pct, programs, random_interleaving
from shootdown.fuzz.inputs.themes import DRAWN
from shootdown.mm.operations import OPERATIONS as DECLARED
from shootdown.scenario import kinds
from shootdown.scenario.binary import WIDTH, decode, encode, run_bits
from shootdown.scenario.record import Header, Scenario
from shootdown.scenario.switches import DRAWN as DRAWN_MACHINES

_HARDWARE_WEIGHTS: Final = {kinds.FILL: 6, kinds.EVICT: 4}
_WEIGHTS: Final = dict(
    sorted(({each.number: each.weight for each in DECLARED} | _HARDWARE_WEIGHTS).items())
)
"""The relative frequency of each kind of record. Schedules add the runs."""


def _shares() -> bytes:
    """Return a kind for each byte, in proportion to the weights; a random byte selects one."""
    ends = list(accumulate(_WEIGHTS.values()))
    kind_of = list(_WEIGHTS)
    return bytes(kind_of[bisect_right(ends, byte * ends[-1] // 256)] for byte in range(256))


_KIND_OF_BYTE: Final = _shares()

# The first page is uniform; a count of 8 means all pages up to the last one, because decoding clips it.
_COUNTS: Final = (1, 1, 1, 2, 2, 3, 8, 8)
_RANGE_OF_BYTE: Final = bytes(byte & 7 | _COUNTS[byte >> 3 & 7] - 1 << 3 for byte in range(256))

# Values of the header; repetitions are their weights.
_CPUS: Final = (1, *(2,) * 18, *(3,) * 8, 4, 4, 5, 6, 8)
_PAGES: Final = (*(1,) * 7, *(2,) * 10, *(3,) * 7, *(4,) * 5, 5, 6, 8)
_LAYOUTS: Final = (
    *(kinds.PRIVATE,) * 9,
    kinds.EMPTY,
    *(kinds.SHARED,) * 2,
    *(kinds.HUGE,) * 3,
    kinds.READONLY,
    *(kinds.FILE,) * 2,
    kinds.PFNMAP,
)
_MACHINES: Final = (*(0,) * 5, *DRAWN_MACHINES)
_ASIDS: Final = (1, 1, 1, 2, 2, 3, 6)
_BATCHES: Final = (1, 1, 1, 2, 2, 3, 4)
_DEPTHS: Final = (2, 3, 3, 4)

# How many kinds of operation one scenario uses beside accesses; repetitions are the weights.
_SWARM_SIZES: Final = (1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 7, 21)
_ALWAYS: Final = tuple(each.number for each in DECLARED if not each.rank)
_SOMETIMES: Final = tuple(kind for kind in _WEIGHTS if kind not in _ALWAYS)

_RACES: Final = 0.7
_THEMED: Final = 0.7
"""How often the kinds of such a scenario come from a theme; the others are for unknown races."""
_CROWDED: Final = 0.5
"""How often a scenario has as many CPUs as the deepest race of its theme."""
_RACING: Final = (1, 2, 2, 2, 2, 3, 3, 3, 4, 6)
"""How many kinds of operation the rounds of one scenario use; repetitions are the weights."""


def random_header(draws: Draws) -> Header:
    """Return a header of a real machine, in most cases with 2 or 3 CPUs."""
    return Header(
        draws.choice(_CPUS),
        draws.choice(_PAGES),
        draws.choice(_LAYOUTS),
        draws.choice(_MACHINES),
        draws.choice(_ASIDS),
        draws.choice(_BATCHES),
    )


def random_record(draws: Draws, pauses: Pauses = OF_MODELS) -> bytes:
    """Return the bytes of one record that is drawn alone, pauses and runs included."""
    kind, cpu, span, arg = draws.randbytes(WIDTH)
    # One record in eight continues an operation: more than a third of the others pause.
    kind = kinds.RUN if draws.random() < 0.125 else _KIND_OF_BYTE[kind]
    low, high = run_bits(draws.choice(pauses.alone))
    return bytes((kind, cpu & 7 | low, _RANGE_OF_BYTE[span] | high, arg))


def _swarm(draws: Draws) -> bytes:
    """Return a translation of kinds that keeps accesses and a few other kinds, and maps the rest to those few.

    A race needs two or three kinds several times on one page; among twenty kinds these rarely meet (swarm testing:
    Groce, Zhang, Eide, Chen, Regehr, ISSTA 2012).
    """
    size = draws.choice(_SWARM_SIZES)
    table = bytearray(range(256))
    if size < len(_SOMETIMES):
        kept = draws.sample(_SOMETIMES, size)
        for i, kind in enumerate(_SOMETIMES):
            if kind not in kept:
                table[kind] = kept[i % size]
    return bytes(table)


def random_scenario(draws: Draws, records: int = 32, pauses: Pauses = OF_MODELS) -> Scenario:
    """Return a canonical scenario with that many records: rounds that race, or programs in one of three interleavings.

    A longer schedule is cut off at the end, so an operation may stay in flight.
    """
    header = random_header(draws)
    if draws.random() < _RACES:
        among: Sequence[int] = OPERATIONS
        if draws.random() < _THEMED:
            theme = draws.choice(DRAWN)
            among = theme.kinds
            if draws.random() < _CROWDED:
                header = header._replace(cpus=max(header.cpus, theme.cpus))
        kept = draws.sample(among, min(draws.choice(_RACING), len(among)))
        return race_scenario(draws, header, kept, records, pauses)
    body = bytearray(draws.randbytes(WIDTH * records))
    body[0::4] = body[0::4].translate(_KIND_OF_BYTE).translate(_swarm(draws))
    body[2::4] = body[2::4].translate(_RANGE_OF_BYTE)
    todo = programs(decode(encode(Scenario(header, ())) + body))
    mode = draws.random()
    if mode < 0.6:
        schedule = random_interleaving(draws, todo, pauses)
    elif mode < 0.9:
        schedule = pct(draws, todo, draws.choice(_DEPTHS), pauses)
    else:
        schedule = lockstep(todo)
    return Scenario(header, schedule[:records])
