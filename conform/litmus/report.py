"""What the published tests say beside what the machine shows: one row for each test, and the totals."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from importlib.resources import files
from typing import Final, NamedTuple

from shootdown.conform.litmus.explore import Explorer, Shown
from shootdown.conform.litmus.form import Basis, Litmus, Reason, Suite, Test, Verdict, parse

SUFFIX: Final = ".txt"


class Agreement(StrEnum):
    """The result of the comparison for one test."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    INEXPRESSIBLE = "not expressible"


class Row(NamedTuple):
    """One published test; what the machine shows is None where the test cannot be expressed."""

    test: Test
    file: str
    litmus: Litmus
    shown: Shown | None
    """Which runs show the outcome, on both processors together."""
    unflushed: Shown | None
    """The same where the invalidations drop nothing; None also where the program has none."""

    @property
    def agreement(self) -> Agreement:
        """Return whether the machine shows what is published."""
        if self.shown is None:
            return Agreement.INEXPRESSIBLE
        if self.shown.verdict == self.test.verdict:
            return Agreement.AGREES
        return Agreement.DISAGREES


def texts() -> dict[str, str]:
    """Return the text of each file of published tests by its name without suffix, sorted."""
    folder = files("shootdown.conform.litmus") / "published"
    found = {
        file.name.removesuffix(SUFFIX): file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(SUFFIX)
    }
    return dict(sorted(found.items()))


def load() -> dict[str, Litmus]:
    """Return the published tests by the name of their file, sorted."""
    return {name: parse(text) for name, text in texts().items()}


def shown(litmus: Litmus, *, flush: bool = True) -> Shown:
    """Return which runs show the outcome on a processor of Intel and on one of AMD: all or none only if both agree."""
    found = {Explorer(litmus, amd=amd, flush=flush).shown() for amd in (False, True)}
    return found.pop() if len(found) == 1 else Shown.SOME


def rows(published: dict[str, Litmus]) -> list[Row]:
    """Return a row for each test, by suite and name."""
    found: list[Row] = []
    for file, litmus in published.items():
        seen = None if litmus.reason else shown(litmus)
        without = shown(litmus, flush=False) if litmus.unflushed else None
        found += [Row(test, file, litmus, seen, without) for test in litmus.tests]
    return sorted(found, key=lambda row: (row.litmus.suite, row.test.name))


_SUITE: Final = {Suite.HAND_WRITTEN: "by hand", Suite.SYNTHESIZED: "synthesized"}
_BASIS: Final = {
    Basis.ENCODING: "the encoding",
    Basis.USER_LEVEL: "the user-level test",
    Basis.AXIOM: "the axiom",
    Basis.NAME: "the name (assumption)",
}
_REASON: Final = {
    Reason.STORE_BUFFER: "it needs a store buffer",
    Reason.UNSTATED: "the witness states no outcome",
}
_COLUMNS: Final = (
    "test",
    "suite",
    "published",
    "this machine",
    "comparison",
    "the outcome is from",
    "runs that show it",
    "if nothing is dropped",
    "file",
    "as a scenario",
)


def markdown(found: Iterable[Row]) -> str:
    """Return the table and the totals as a page shows them."""
    lines = list(found)
    return "\n".join([*_table(lines), "", *_sums(lines)])


def _table(found: list[Row]) -> Iterator[str]:
    yield _line(_COLUMNS)
    yield _line("---" for _ in _COLUMNS)
    for row in found:
        litmus = row.litmus
        ours = row.shown.verdict.value if row.shown else "-"
        yield _line(
            (
                f"`{row.test.name}`",
                _SUITE[litmus.suite],
                row.test.verdict,
                ours,
                row.agreement,
                _REASON[litmus.reason] if litmus.reason else _BASIS[litmus.basis],
                row.shown or "-",
                row.unflushed.verdict.value if row.unflushed else "-",
                row.file,
                ", ".join(litmus.scenarios) or "-",
            )
        )


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _sums(found: list[Row]) -> Iterator[str]:
    head = ("suite", "published", "expressible", *Agreement)
    yield _line(head)
    yield _line("---" for _ in head)
    for name, of in [
        *((_SUITE[suite], [row for row in found if row.litmus.suite == suite]) for suite in Suite),
        ("both", found),
    ]:
        count = {each: sum(row.agreement == each for row in of) for each in Agreement}
        expressible = len(of) - count[Agreement.INEXPRESSIBLE]
        numbers = (len(of), expressible, *count.values())
        yield _line((name, *map(str, numbers)))
    agreed = [row for row in found if row.agreement == Agreement.AGREES]
    forbidden = [row for row in agreed if row.test.verdict == Verdict.FORBIDDEN]
    by_flush = [row for row in forbidden if row.unflushed and row.unflushed != Shown.NONE]
    every = [row for row in agreed if row.shown == Shown.ALL]
    permitted = len(agreed) - len(forbidden)
    yield ""
    yield f"- Of the tests that agree {len(forbidden)} are forbidden and {permitted} permitted."
    yield f"- {len(by_flush)} of the forbidden ones are permitted where the invalidations drop nothing."
    yield f"- {len(every)} of the permitted ones have an outcome that every run shows."
