"""A version history without a kernel: the start of the tests of histories."""

from shootdown.machine.entry import ACCESSED, EXEC, NX, PRESENT, RW, USER, WRITE
from shootdown.machine.geometry import FRAME_BITS
from shootdown.machine.x86 import Machine
from shootdown.reference.history import History

CPUS = 4
A, B = 1, 2
"""Two frames of data."""


def entry(frame: int, grants: int) -> int:
    """Return the PTE that maps the frame with these grants."""
    rw = RW if grants & WRITE else 0
    return FRAME_BITS[frame] | PRESENT | USER | ACCESSED | rw | (0 if grants & EXEC else NX)


def history() -> History:
    """Return a history of one machine, with an object in each of the two frames."""
    h = History(Machine(CPUS), CPUS)
    for frame in (A, B):
        h.object_new(0, 0, frame)
    return h
