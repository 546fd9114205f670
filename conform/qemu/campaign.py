"""Random sequences on the machine and on QEMU's MMU, until a limit; each disagreement is minimized."""

import random
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final

from shootdown.conform.qemu.compare import Difference, compare
from shootdown.conform.qemu.events import (
    ACCESS,
    Event,
    EventError,
    Shape,
    parse,
    random_events,
    render,
    simpler,
    text,
)
from shootdown.conform.qemu.known import DROPS
from shootdown.conform.qemu.shorten import shorten
from shootdown.conform.qemu.sides import EXACT, MAY_DROP, MODES, Setting
from shootdown.machine.qemu.mmu import load_unicorn
from shootdown.machine.x86 import Machine
from shootdown.scenario.switches import AMD, DECLARED, FRACTURED, SPLIT_TLB

LENGTH: Final = 60
"""Events of a sequence after those that make its page tables."""
BOTH: Final = "both"
PROGRESS_SECONDS: Final = 0.5
MOST_DISAGREEMENTS: Final = 20
"""A campaign ends after this many disagreements: so many have one cause."""

_ALL: Final = Shape(huge=True, global_=True, keys=True)
SETTINGS: Final[dict[str, tuple[Setting, ...]]] = {
    EXACT: (
        Setting(EXACT, Shape()),
        Setting(EXACT, Shape(keys=True)),
        Setting(EXACT, Shape(cpus=1, keys=True)),
        Setting(EXACT, Shape(huge=True, keys=True), AMD | FRACTURED),
        Setting(EXACT, Shape(huge=True, keys=True, whole=True)),
        Setting(EXACT, Shape(huge=True, keys=True, global_=True, kept=True), AMD | FRACTURED),
    ),
    MAY_DROP: (
        Setting(MAY_DROP, Shape(keys=True), 0),
        Setting(MAY_DROP, _ALL, FRACTURED),
        Setting(MAY_DROP, _ALL, AMD | FRACTURED),
        # Without pieces a leaf of 2 MiB is one entry, as in QEMU if only one of its pages is used.
        Setting(MAY_DROP, _ALL._replace(whole=True), 0),
        Setting(MAY_DROP, Shape(twice=True), AMD | SPLIT_TLB),
        Setting(MAY_DROP, _ALL._replace(twice=True), SPLIT_TLB | FRACTURED),
    ),
}
"""What sequences are made of and compared with; one is drawn for each sequence.

QEMU caches a leaf of 2 MiB in pieces. Its one TLB and its memory of translated code act as two TLBs when a CPU fetches
twice from one address.
"""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A sequence for which QEMU's MMU shows what no state of the machine does, and no known deviation explains.

    `case`: the minimized sequence as text (`parse_case`); its last event is the one that differs.
    `machine`, `qemu`: what each shows for that event.
    `seed`, `sequence`: what the sequence was made from.
    """

    case: str
    what: str
    event: str
    machine: str
    qemu: str
    seed: int
    sequence: int

    def document(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {
            "case": self.case,
            "class": "finding",
            "what": self.what,
            "event": self.event,
            "machine": self.machine,
            "qemu": self.qemu,
            "seed": self.seed,
            "sequence": self.sequence,
        }


@dataclass(slots=True)
class Result:
    """How far a comparison is, or how it ended.

    `explained`: for each name of known.DROPS, how many accesses agree only because QEMU may deviate.
    `seconds`: wall time.
    """

    seed: int
    mode: str
    sequences: int = 0
    events: int = 0
    accesses: int = 0
    seconds: float = 0.0
    explained: Counter[str] = field(default_factory=Counter)
    disagreements: list[Disagreement] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """Return it as JSON values, with the manual section of each known deviation."""
        return {
            "machine": "qemu",
            "mode": self.mode,
            "seed": self.seed,
            "sequences": self.sequences,
            "events": self.events,
            "accesses": self.accesses,
            "seconds": round(self.seconds, 3),
            "explained": {
                name: {"accesses": self.explained[name], "does": known.does, "manual": known.manual}
                for name, known in DROPS.items()
            },
            "unexplained": len(self.disagreements),
            "disagreements": [each.document() for each in self.disagreements],
        }


def run(
    seed: int,
    *,
    seconds: float | None = None,
    sequences: int | None = None,
    events: int | None = None,
    mode: str = BOTH,
    first: int = 0,
    machine_type: type[Machine] = Machine,
    most: int = MOST_DISAGREEMENTS,
) -> Generator[Result, None, Result]:
    """Compare sequences `first`, `first` + 1, ... of a seed until a limit; yield the result now and then, and return it
    at the end.

    None means no limit, except that `most` always is one. The same seed, mode and sequence number give the same
    sequence.
    Errors: Unusable, when there is no unicorn; MmuError.
    """
    load_unicorn()
    result = Result(seed, mode)
    started = shown = time.monotonic()
    seen: set[str] = set()
    while (
        (sequences is None or result.sequences < sequences)
        and (events is None or result.events < events)
        and (seconds is None or result.seconds < seconds)
        and len(result.disagreements) < most
    ):
        number = first + result.sequences
        setting, made = sequence_of(seed, number, mode)
        compared = compare(made, setting, machine_type)
        result.sequences += 1
        result.events += compared.events
        result.accesses += compared.accesses
        result.explained += compared.explained
        if compared.difference is not None:
            found = _minimized(seed, number, setting, made, compared.difference, machine_type)
            if found.case not in seen:
                seen.add(found.case)
                result.disagreements.append(found)
        now = time.monotonic()
        result.seconds = now - started
        if now - shown >= PROGRESS_SECONDS:
            shown = now
            yield result
    return result


def finished(progress: Generator[Result, None, Result]) -> Result:
    """Return the result of a run at its end."""
    while True:
        try:
            next(progress)
        except StopIteration as end:
            result: Result = end.value
            return result


def sequence_of(seed: int, number: int, mode: str) -> tuple[Setting, list[Event]]:
    """Return a sequence of a seed, and the setting in which it is compared."""
    draws = random.Random(f"{seed} {number} {mode}")
    modes = MODES if mode == BOTH else (mode,)
    setting = draws.choice(SETTINGS[modes[number % len(modes)]])
    return setting, random_events(draws, setting.shape, LENGTH)


def _minimized(
    seed: int,
    number: int,
    setting: Setting,
    events: list[Event],
    difference: Difference,
    machine_type: type[Machine],
) -> Disagreement:
    last = events[difference.at]
    which = (difference.what, last.kind, last.second if last.kind == ACCESS else 0)

    def interesting(candidate: list[Event]) -> bool:
        found = compare(candidate, setting, machine_type).difference
        if found is None or found.at != len(candidate) - 1:
            return False
        event = candidate[-1]
        return which == (found.what, event.kind, event.second if event.kind == ACCESS else 0)

    best = shorten(events[: difference.at + 1], interesting)
    for at in range(len(best)):
        for event in simpler(best[at]):
            candidate = [*best[:at], event, *best[at + 1 :]]
            if interesting(candidate):
                best = candidate
    best = shorten(best, interesting)
    found = compare(best, setting, machine_type).difference or difference
    return Disagreement(
        case_text(setting, best),
        found.what,
        text(best[-1]),
        found.machine,
        found.qemu,
        seed,
        number,
    )


def case_text(setting: Setting, events: list[Event]) -> str:
    """Return a sequence with its setting, as text that `parse_case` reads."""
    kept = " kept" if setting.shape.kept else ""
    return f"{setting}{kept}, cpus {setting.shape.cpus}\n{render(events)}"


def parse_case(case: str) -> tuple[Setting, list[Event]]:
    """Return the setting and the sequence in a text of `case_text`.

    Errors: EventError.
    """
    head, _, rest = case.partition("\n")
    words, _, cpus = head.partition(", cpus ")
    mode, *switches = words.split() or [""]
    known = {each.keyword: each.bit for each in DECLARED if each.keyword}
    if mode not in MODES or not cpus.isdecimal() or not {"kept", *known}.issuperset(switches):
        raise EventError(f"'{head}' does not say how a sequence is compared.")
    shape = Shape(cpus=int(cpus), kept="kept" in switches)
    return Setting(mode, shape, sum(known[each] for each in set(switches) - {"kept"})), parse(rest)
