"""The table: for each class of changes what each policy does about its flush, and whether that is right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from shootdown.machine.entry import GLOBAL, PRESENT, PROTNONE, PSE
from shootdown.optimized.policy import Policy
from shootdown.policy.source import LoadedPolicy, blamed
from shootdown.table.changes import Change, all_changes, flag_name
from shootdown.table.cubes import cubes_of, words_of
from shootdown.table.need import YES, Need, need_of
from shootdown.table.stories import change_key, stories_by_change
from shootdown.table.trial import FaultHandling

DONE: Final = "done"
MISSING: Final = "missing"
WASTED: Final = "wasted"
SKIPPED: Final = "skipped"
"""Needed and flushed; needed and not flushed; not needed and flushed; neither. Needed means needed by a processor that
checks the entry in memory before it sets the dirty bit, as every known x86 does.
"""

_NOT_ASKED: Final = "Linux flushes here without asking the rule"
_NOTHING_CACHED: Final = "Linux neither asks the rule nor flushes here"
_INSIDE: Final = (
    "a step inside an operation; a split flushes it without asking the rule, a protection change asks about"
    " the entry that follows"
)
_NO_GLOBAL: Final = "no user entry of Linux has G while it is present"


@dataclass(frozen=True, slots=True)
class Cell:
    """What one policy does about one row.

    `need`: whether a flush is needed under the policy's own fault handler.
    `old`, `new`: the entries of the shortest counterexample.
    `stories`: the scenarios of the corpus that the policy fails because this flush is missing.
    """

    verdict: str
    need: Need
    old: int
    new: int
    stories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A class of changes in those contexts in which the cells of every policy are the same.

    `context`: the names of the contexts, "" for all.
    `needed`: whether a flush is needed under Linux's fault handler.
    `cells`: one for each policy, in their order.
    """

    name: str
    context: str
    group: str
    huge: bool
    needed: str
    cells: tuple[Cell, ...]
    note: str

    @property
    def label(self) -> str:
        """Return the change with its contexts."""
        return f"{self.name} ({self.context})" if self.context else self.name


def table_of(
    policies: Sequence[LoadedPolicy], changes: Iterable[Change] | None = None
) -> list[Row]:
    """Return the rows of all changes, or of the given ones.

    Errors: PolicyError, when a user's rule raises.
    """
    rows = []
    for family, members in groupby(all_changes() if changes is None else changes, key=_family):
        split = [_rows_of(change, policies) for change in members]
        if family[0] and _alike(split):
            rows.append(replace(split[0][0], name=family[0]))
        else:
            rows += [row for group in split for row in group]
    return rows


def handling_of(policy: Policy) -> FaultHandling:
    """Return the page-fault handler that belongs to a policy."""
    return FaultHandling(policy.handler, policy.report_spurious)


def _rows_of(change: Change, policies: Sequence[LoadedPolicy]) -> list[Row]:
    """Split the contexts of a change into rows, so that the cells within a row are the same."""
    split: dict[tuple[tuple[str, str], ...], list[int]] = {}
    needs: list[list[Need]] = []
    for number, (old, new) in enumerate(change.cases):
        needs.append(
            [
                need_of(old, new, huge=change.huge, handling=handling_of(loaded.policy))
                for loaded in policies
            ]
        )
        seen = []
        for loaded, need in zip(policies, needs[-1], strict=True):
            with blamed(loaded):
                flushed = loaded.policy.flushes(old, new, huge=change.huge)
            seen.append((_verdict(need, flushed=flushed), need.needed))
        linux = need_of(old, new, huge=change.huge, handling=FaultHandling())
        split.setdefault((*seen, ("", linux.needed)), []).append(number)
    names = [flag_name(bit, huge=change.huge) for bit in change.free]
    rows = []
    for signature, numbers in split.items():
        cells = [
            _cell(change, verdict, numbers, [needs[number][at] for number in numbers])
            for at, (verdict, _) in enumerate(signature[:-1])
        ]
        context = words_of(cubes_of(numbers, len(names)), names)
        rows.append(
            Row(
                change.name,
                context,
                change.group,
                change.huge,
                signature[-1][1],
                tuple(_with_stories(change, numbers, policies, cells)),
                _note(change),
            )
        )
    return rows


def _verdict(need: Need, *, flushed: bool) -> str:
    if need.needed == YES:
        return DONE if flushed else MISSING
    return WASTED if flushed else SKIPPED


def _cell(change: Change, verdict: str, numbers: Sequence[int], needs: Sequence[Need]) -> Cell:
    """Return the cell of the contexts `numbers`, with the shortest of their counterexamples and all their gains."""
    gains = frozenset(gain for need in needs for gain in need.gains)
    best = min(range(len(needs)), key=lambda at: _length(needs[at]))
    return Cell(verdict, needs[best]._replace(gains=gains), *change.cases[numbers[best]])


def _length(need: Need) -> int:
    return len(need.counterexample.events) if need.counterexample else 0


def _with_stories(
    change: Change, numbers: Sequence[int], policies: Sequence[LoadedPolicy], cells: Iterable[Cell]
) -> Iterable[Cell]:
    keys = {change_key(*change.cases[number], huge=change.huge) for number in numbers}
    for loaded, cell in zip(policies, cells, strict=True):
        if cell.verdict == MISSING:
            known = stories_by_change(loaded)
            names = sorted(name for key in keys for name in known.get(key, ()))
            yield replace(cell, stories=tuple(names))
        else:
            yield cell


def _family(change: Change) -> tuple[str, str]:
    """Return what neighbours that may be one row have in common: the family, or nothing if there is none."""
    return change.family, "" if change.family else change.name


def _alike(split: Sequence[Sequence[Row]]) -> bool:
    """Return whether the changes differ only in their names: then there is one row for each, with the same cells."""
    seen = {
        tuple((cell.verdict, cell.need.needed) for cell in row.cells)
        for rows in split
        for row in rows
    }
    return len(seen) == 1 and all(len(rows) == 1 for rows in split)


def _note(change: Change) -> str:
    old, new = change.cases[0]
    if old & new & PRESENT:
        return _NO_GLOBAL if (old ^ new) & GLOBAL else ""
    if new & PSE and not new & (PRESENT | PROTNONE):
        return _INSIDE
    if not old & (PRESENT | PROTNONE):
        return _NOTHING_CACHED
    return "" if new & (PRESENT | PROTNONE) else _NOT_ASKED
