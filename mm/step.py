"""The step engine: an operation is a sequence of named steps that a CPU executes one at a time.

A step is a tuple of integers, first the step's code and then its arguments; a CPU's pending steps are a list with the
next one last.
So a world between two steps is plain data, and another CPU may run at every step boundary.
"""

from collections.abc import Callable
from typing import Final, Literal, get_args

from shootdown.mm.state import Step
from shootdown.mm.watch import Watch
from shootdown.mm.world import World

Point = Literal[
    "lock",
    "change",
    "commit",
    "unlock",
    "flush",
    "ack",
    "copy",
    "install",
    "free",
    "return",
    "switch",
    "fault",
    "check",
    "generation",
    "cr3",
    "unmap",
    "mask",
    "remote",
    "loaded",
    "pending",
    "invalidate",
    "shared",
    "wait",
]
"""A place in an operation before which a scenario can pause, by the word of the text form. Append, never reorder: the
position is part of the binary form.
"""
STEP_POINTS: Final[tuple[str, ...]] = get_args(Point)

MEANINGS: Final[dict[Point, str]] = {
    "lock": "a lock is taken, of an address space, a region, a page or a page table",
    "change": "an entry of a page table is changed or taken out, or PKRU is written",
    "commit": "what was prepared comes into force: the new entry is stored, or a lockless walk keeps its page",
    "unlock": "a lock is released",
    "flush": "a flush begins",
    "ack": "a CPU carries out its part of a flush, or the flush waits for it",
    "copy": "the content of a page is read, written or copied",
    "install": "a new entry or a page table is put in its place",
    "free": "a page or a page table is freed, or a reference to it is dropped",
    "return": "the operation returns, or its gather is closed",
    "switch": "a context switch begins, or one of its parts that has no word of its own",
    "fault": "the page fault handler begins, or handles an entry that is present",
    "check": "the operation looks at something that decides how it goes on",
    "generation": "`tlb_gen` of an address space is read, for a comparison",
    "cr3": "CR3 is written",
    "unmap": "the entries of a page are searched through the reverse map, to be unmapped",
    "mask": "a CPU mask is read or changed",
    "remote": "the data of another CPU is read",
    "loaded": "`loaded_mm` or `is_lazy` is written, or read with interrupts enabled",
    "pending": "`tlb_flush_pending` is read or changed",
    "invalidate": "the CPU invalidates entries of its TLB",
    "shared": "other data of an address space is read or written",
    "wait": "the CPU waits for other CPUs: for a grace period, or in a loop",
}
"""What comes right after a pause at each point."""
if tuple(MEANINGS) != STEP_POINTS:
    _message = (
        f"the points are {', '.join(STEP_POINTS)}; those with a meaning are {', '.join(MEANINGS)}"
    )
    raise ValueError(_message)

StepFunction = Callable[[World, int, Step], bool | None]
"""A function that executes one step of a CPU; it returns True if the step cannot run yet (a lock is taken, an IPI is
held off).

Its signature is its first statement, `_, mm, page = s`, which names all arguments of the step; or `inside = s[1:]`,
which is a step itself. No type checker looks into tuples of integers, so tests/step_signatures.py compares every step
that is created with these names.
"""

STEPS: Final[list[StepFunction]] = []
NAMES: Final[list[str]] = []
POINTS: Final[list[str]] = []
_IN_MODELS: Final[set[str]] = set()
"""The points of the steps that the models in Python make."""
TAKES: Final[list[tuple[str, ...]]] = []
"""The meaning of the arguments of a step that names a CPU, a frame, an entry, a generation or a table; () for all other
steps, whose arguments are numbers with the same meaning in every world.
"""


STEP_LIMIT: Final = 20_000
"""The most steps of one run; the longest scenario that the generators make needs a tenth of them."""
EVERY_STOP: Final = -1
POINT_BITS: Final = {point: 1 << at for at, point in enumerate(STEP_POINTS)}
"""The points as bits of State.stops."""


def step(
    name: str, point: Point | Literal[""] = "", takes: str = "", *, in_c: bool = False
) -> Callable[[StepFunction], int]:
    """Register a step under the name that a kernel developer knows; the decorated name becomes the step's code.

    `point`: the scenario word ("until POINT") that pauses before this step.
    `takes`: a word for each argument, if one is a cpu, a frame, an entry, a generation (of the argument mm), or a table
    (the frame of a page table that no PMD points to any more). It repeats the names of the function, because a compiled
    function does not have them; tests/step_signatures.py compares the two.
    `in_c`: the step is a place in a kernel's own C, at which only a strategy that runs this C can stop.
    Errors: ValueError, when the module is imported, for a word that is no point.
    """
    if point and point not in STEP_POINTS:
        message = (
            f"the step '{name}' pauses at '{point}', which is no point ({', '.join(STEP_POINTS)})"
        )
        raise ValueError(message)

    def register(function: StepFunction) -> int:
        STEPS.append(function)
        NAMES.append(name)
        POINTS.append(point)
        TAKES.append(tuple(takes.split()))
        if point and not in_c:
            _IN_MODELS.add(point)
        return len(STEPS) - 1

    return register


def points_of_models() -> tuple[str, ...]:
    """Return the points at which a CPU can stop in steps of the models, in the order of Point."""
    return tuple(point for point in STEP_POINTS if point in _IN_MODELS)


def push(w: World, cpu: int, *steps: Step) -> None:
    """Put steps before the pending steps of the CPU; the first one runs first."""
    w.steps[cpu].extend(steps[::-1])


def run_steps(w: World, cpu: int, limit: int, point: str = "") -> bool:
    """Let the CPU execute up to `limit` steps, or those before the next step of `point`.

    Return False if it stopped because a step is blocked; that step has changed nothing.
    """
    if w.watch:
        w.stops = EVERY_STOP
        return _run_watched(w, cpu, limit, point, w.watch)
    w.stops = POINT_BITS[point] if point else 0 if limit == STEP_LIMIT else EVERY_STOP
    stack = w.steps[cpu]
    left = limit
    while stack and left and not (point and POINTS[stack[-1][0]] == point):
        current = stack.pop()
        if STEPS[current[0]](w, cpu, current):
            stack.append(current)
            w.executed += limit - left
            return False
        left -= 1
    w.executed += limit - left
    return True


def _run_watched(w: World, cpu: int, limit: int, point: str, watch: Watch) -> bool:
    """Do as run_steps does, with a watch; this is separate because campaigns have none and run eighty steps per run."""
    stack = w.steps[cpu]
    left = limit
    while stack and left and not (point and POINTS[stack[-1][0]] == point):
        current = stack.pop()
        watch.begins(cpu, current)
        if STEPS[current[0]](w, cpu, current):
            stack.append(current)
            watch.blocked()
            w.executed += limit - left
            return False
        left -= 1
        watch.executed(w, cpu, current)
    w.executed += limit - left
    return True
