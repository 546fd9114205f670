"""One key for all worlds that differ only in names (fuzz.prove.canonical), and for all that no run can tell apart.

Two worlds of one key have the same future, up to the names in it.
"""

from hashlib import blake2b
from struct import Struct, error
from typing import Final

from fuzz.oracle import Oracle
from fuzz.prove.canonical import Canonical
from mm.world import World

_FIRST: Final = [0]
"""The CPU that every walk begins at if none is renamed."""
_PACKED: Final = [Struct(f"<{count}i") for count in range(1024)]
"""By their number, how integers become bytes."""


def key_of(
    w: World, oracle: Oracle, *, names: bool = True, rename_cpus: bool = True, huge: bool = False
) -> int:
    """Return a hash of 64 bits, of which the highest 59 count, of a world between two steps and its history; renamings
    leave it as it is.

    `names`, `rename_cpus`: what may be renamed, all but the CPUs and the CPUs. `huge`: there may be huge pages, so
    frames keep their numbers.
    """
    starts = _starts(w) if rename_cpus else _FIRST
    best = _packed(Canonical(w, oracle, starts[0], names=names, huge=huge).out)
    for first in starts[1:]:
        best = min(best, _packed(Canonical(w, oracle, first, names=names, huge=huge).out))
    return int.from_bytes(blake2b(best, digest_size=8).digest(), "little") | 16


def _starts(w: World) -> list[int]:
    """Return the CPUs from which a walk may begin: those whose rotation of some cheap facts is the least."""
    cpus = w.cpus
    if cpus == 1:
        return _FIRST
    facts = [_facts(w, cpu) for cpu in range(cpus)]
    least = min(facts)
    starts = [cpu for cpu in range(cpus) if facts[cpu] == least]
    if len(starts) == 1:
        return starts
    rotations = [facts[first:] + facts[:first] for first in starts]
    smallest = min(rotations)
    return [first for i, first in enumerate(starts) if rotations[i] == smallest]


def _facts(w: World, cpu: int) -> list[int]:
    """Return facts of a CPU that have no names in them."""
    stack = w.steps[cpu]
    facts = [len(stack), w.task_mm[cpu]]
    facts += [s[0] for s in stack]
    tlb = w.machine.tlb[cpu]
    facts += [key << 8 | tlb[key] & 0xFF for key in sorted(tlb)]
    return facts


def _packed(facts: list[int]) -> bytes:
    """Return integers as bytes: other bytes for other integers."""
    count = len(facts)
    try:
        return _PACKED[count].pack(*facts) if count < len(_PACKED) else _wide(facts)
    except error:
        return _wide(facts)


def _wide(facts: list[int]) -> bytes:
    return b"wide" + b",".join([b"%d" % fact for fact in facts])
