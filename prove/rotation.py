"""The CPUs at which a walk over a world may begin, so that all its rotations give the same walk."""

from typing import Final

from shootdown.mm.world import World

FIRST: Final = [0]
"""The CPU at which every walk begins if no CPU is renamed."""


def starts_of(w: World) -> list[int]:
    """Return the CPUs at which a walk may begin: those for which the rotation of some cheap facts is the smallest."""
    cpus = w.cpus
    if cpus == 1:
        return FIRST
    facts = [_facts(w, cpu) for cpu in range(cpus)]
    least = min(facts)
    starts = [cpu for cpu in range(cpus) if facts[cpu] == least]
    if len(starts) == 1:
        return starts
    rotations = [facts[first:] + facts[:first] for first in starts]
    smallest = min(rotations)
    return [first for i, first in enumerate(starts) if rotations[i] == smallest]


def _facts(w: World, cpu: int) -> list[int]:
    """Return facts about a CPU that contain no names."""
    stack = w.steps[cpu]
    facts = [len(stack), w.task_mm[cpu]]
    facts += [s[0] for s in stack]
    tlb = w.machine.tlb[cpu]
    facts += [key << 8 | tlb[key] & 0xFF for key in sorted(tlb)]
    return facts
