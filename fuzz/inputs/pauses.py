"""Where the operations of a campaign's inputs pause: only where the strategy under test can stop.

At any other point an operation would run to its end, and the input would be one without the pause.
"""

from collections.abc import Collection
from typing import Final

from shootdown.optimized.policies import REGISTRY
from shootdown.scenario.binary import HIGH_RUN, WIDTH, put_run, run_at
from shootdown.scenario.kinds import FIRST_POINT, MAX_STEPS, POINTS, RUNS, pauses_at

_WINDOW: Final = ("commit", "unlock", "flush", "ack", "window", "window", "window")
_FAULT: Final = ("lock", "check", "change", "copy", "install", "unlock", "window")
_WITHOUT_HIGH_RUN: Final = bytes(third for third in range(256) if not third & HIGH_RUN)


class Pauses:
    """The run fields for a strategy that can stop at some points (FlushStrategy.points).

    A pause falls on both steps and named points, with more weight on the start and the end of a window (the change is
    visible and the flush is not done) than on the way in and out.
    `cuts`: run fields that pause; repetitions are the weights.
    `fault_cuts`: the same for an access that faults, whose windows are different.
    `alone`: run fields of a record that is drawn alone; half of them run to completion.
    """

    def __init__(self, points: Collection[str]) -> None:
        named = pauses_at(points)
        steps = range(1, MAX_STEPS + 1)
        self.cuts = (
            *steps,
            *range(1, MAX_STEPS // 2),
            *named,
            *_among(named, _WINDOW) * 3,
        )
        self.fault_cuts = (*steps, *(1, 2, 3, 4) * 3, *_among(named, _FAULT))
        self.alone = (*(0,) * len(self.cuts), *self.cuts)
        possible = (0, *steps, *named)
        self._instead = tuple(
            run if run in possible else possible[run % len(possible)] for run in range(RUNS)
        )
        self._plain = bytes(second for second in range(256) if second >> 3 in possible)

    def fit(self, records: bytearray) -> None:
        """Give every record of a binary form that pauses elsewhere another pause, or none."""
        # Most inputs have nothing to replace, and two translations take a seventh of the time of a look at each record.
        if not (
            records[WIDTH + 1 :: WIDTH].translate(None, self._plain)
            or records[WIDTH + 2 :: WIDTH].translate(None, _WITHOUT_HIGH_RUN)
        ):
            return
        for at in range(WIDTH, len(records), WIDTH):
            run = run_at(records, at)
            if self._instead[run] != run:
                put_run(records, at, self._instead[run])


def _among(named: Collection[int], words: tuple[str, ...]) -> tuple[int, ...]:
    runs = (FIRST_POINT + POINTS.index(word) for word in words)
    return tuple(run for run in runs if run in named)


OF_MODELS: Final = Pauses(REGISTRY["linux"].make().points())
"""The pauses for a strategy that stops where the models in Python do."""
