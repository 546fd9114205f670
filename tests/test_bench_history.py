"""The table of the history bench: medians with censored runs as the longest, and the page into which it is put."""

import json
from pathlib import Path

import pytest

from bench import faults, history_page
from bench.history import BASE, CATALOGUE, SEEDED, summary, table
from bench.medians import cell
from bench.runs import Run, load


def runs(*executions: int | None, engine: str = "atheris", seeded: bool = True) -> list[Run]:
    """Return runs of the first bug of the catalogue that detected it after so many executions, or not."""
    return [
        {
            "engine": engine,
            "seeded": seeded,
            "fault": CATALOGUE[0],
            "seed": seed,
            "found": found is not None,
            "executions": found,
            "seconds": found and found / 1000,
            "reached": 1,
            "triggered": found,
            "total_executions": found or 9000,
            "limit": 9.0,
        }
        for seed, found in enumerate(executions)
    ]


@pytest.mark.parametrize(
    ("executions", "told"),
    [
        ((100, 300, 200), "200"),
        ((100, 300, None), "300 (2 of 3)"),
        ((100, None, None), "> 9,000 (1 of 3)"),
        ((), "-"),
    ],
)
def test_a_run_without_its_bug_is_longer_than_every_other(
    executions: tuple[int | None, ...], told: str
) -> None:
    """The median is over all runs, and says how many found the bug."""
    assert cell(runs(*executions), "executions") == told


@pytest.mark.parametrize(
    ("executions", "told"),
    [
        ((100, 300, 200), "200 / 0.20 (3 of 3)"),
        ((100, None, None), "> 9,000 / > 9 (1 of 3)"),
        ((), "-"),
    ],
)
def test_the_cell_of_the_bench_of_faults(executions: tuple[int | None, ...], told: str) -> None:
    """It has executions, and seconds to a hundredth, because most faults are found in less than one second."""
    assert faults.cell(runs(*executions)) == told


def test_the_row_of_a_bug() -> None:
    """Entry, name, year and rule; with the corpus all stages, without it detection alone, by engine."""
    every = [*runs(100), *runs(200, seeded=False), *runs(None, engine="stock", seeded=False)]
    _, _, row, *_ = table(every).splitlines()

    assert row.split(" | ")[4:] == [
        "1",
        "100",
        "100",
        "0.1",
        "200",
        "-",
        "-",
        "> 9,000 (0 of 1) |",
    ]


def test_engines_are_compared_without_the_corpus() -> None:
    """The ratio is of medians for the same bug, for the bugs that features find without a corpus."""
    every = [
        *runs(10),
        *runs(200, seeded=False),
        *runs(1400, engine="coverage", seeded=False),
    ]
    *_, last = summary(every)

    assert last == (
        "- coverage: 1 of 1 runs found their bug; median over the bugs 1,400 executions, 1.4 CPU s;"
        " 7.0 times the executions of features in the median, 5 times and more for 1 of 1."
    )
    assert SEEDED != BASE


def test_the_page_has_a_place_for_the_table(tmp_path: Path) -> None:
    """The text between the marks comes from a results file, and nothing else changes."""
    text = history_page.PAGE.read_text()
    results = tmp_path / "history.jsonl"
    results.write_text("".join(json.dumps(run) + "\n" for run in runs(100, 300, 200)))

    written = history_page.with_table(text, results)

    assert table(load(results)) in written
    assert history_page.with_table(written, results) == written
    before, _, after = text.partition(history_page.BEGIN)
    assert written.startswith(before)
    assert written.endswith(after.partition(history_page.END)[2])


def test_a_page_without_marks(tmp_path: Path) -> None:
    """The page stays as it is, and a sentence says why."""
    with pytest.raises(SystemExit, match="lacks one of the marks"):
        history_page.with_table("# shootdown\n", tmp_path / "none.jsonl")
