"""The rows of `shootdown table`: what each policy does for each class of changes."""

import re
from dataclasses import replace

import pytest

from shootdown.cli.output import WIDTH
from shootdown.mm.fault_handler import FaultHandler
from shootdown.optimized.policies import RULES
from shootdown.optimized.policy import Policy
from shootdown.policy.source import LoadedPolicy, load_policy
from shootdown.table.cubes import cubes_of, words_of
from shootdown.table.need import YES
from shootdown.table.rows import DONE, MISSING, SKIPPED, WASTED, Cell, Row, table_of
from shootdown.table.text import lines_of
from shootdown.table.words import need_words
from tests.test_repository import ROOT

NAMES = [policy.name for policy in RULES]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Return the table of the rules that ship with the tool."""
    return table_of([load_policy(name) for name in NAMES])


def cells(rows: list[Row], label: str, *, huge: bool = False) -> dict[str, Cell]:
    """Return the cells of a row, by policy."""
    (row,) = [row for row in rows if row.label == label and row.huge == huge]
    return dict(zip(NAMES, row.cells, strict=True))


def verdicts(rows: list[Row], label: str, *, huge: bool = False) -> dict[str, str]:
    """Return what the policies do about a row."""
    return {name: cell.verdict for name, cell in cells(rows, label, huge=huge).items()}


def test_single_bits_of_linux(rows: list[Row]) -> None:
    """The table agrees with docs/linux-tlb.md A.2 about the newest rule."""
    change = ["RW", "US", "PWT", "PCD", "PAT", "G", "NX"]
    flushed = {f"{bit} {word}" for bit in change for word in ("set", "cleared")}
    flushed |= {"a PKEY bit set", "a PKEY bit cleared", "D cleared"}
    linux = NAMES.index("linux")
    single = {row.name for row in rows if row.group == "one flag" and not row.huge}
    does = {
        row.name
        for row in rows
        if row.group == "one flag" and not row.huge and row.cells[linux].verdict in (DONE, WASTED)
    }

    assert does == flushed
    assert "A cleared" in single
    assert "SAVED_DIRTY set" in single


def test_v1_misses_the_promotion_to_executable(rows: list[Row]) -> None:
    """It misses the flush under its own fault handler, and only for NX cleared; the corpus has the story."""
    v1 = NAMES.index("v1")
    missing = {row.name for row in rows if row.cells[v1].verdict == MISSING}
    cell = cells(rows, "NX cleared")["v1"]

    assert all("NX cleared" in name for name in missing)
    assert "bad_c2_v1_nx_promotion" in cell.stories
    assert cell.need.counterexample is not None
    assert cell.need.counterexample.reason == "denied-though-allowed"


def test_promotion_to_executable_under_each_handler(rows: list[Row]) -> None:
    """Linux needs the flush and makes it; v3 skips it under the handler that was posted with it."""
    found = verdicts(rows, "NX cleared")

    assert {name: found[name] for name in ("always", "linux-5.19", "linux", "minimal")} == {
        "always": DONE,
        "linux-5.19": DONE,
        "linux": DONE,
        "minimal": DONE,
    }
    assert found["v3"] == SKIPPED
    (row,) = [row for row in rows if row.label == "NX cleared" and not row.huge]
    assert (row.needed, need_words(row)) == (YES, "yes h")


def test_the_rule_of_minimal_exec_check_misses_the_promotion_under_linux() -> None:
    """Under its own handler only G is missing; under Linux's handler also every NX cleared that it skips."""
    policy = load_policy("minimal-exec-check").policy
    for handler, names in (
        (FaultHandler.EXEC_CHECK, {"G cleared"}),
        (
            FaultHandler.LINUX,
            {"G cleared", "NX cleared", "RW set, NX cleared", "NX cleared, A set"}
            | {"NX cleared, A cleared", "NX cleared, D set"},
        ),
    ):
        judged = replace(policy, handler=handler)
        missing = {
            row.name
            for row in table_of([LoadedPolicy(judged, "file.py", "1")])
            if row.cells[0].verdict == MISSING
        }
        assert missing == names


def test_where_v1_and_linux_differ(rows: list[Row]) -> None:
    """For RW set, v1 skips what linux wastes; for entries that were not present, and for bit 58, it is the other way
    round.
    """
    assert [verdicts(rows, "RW set")[name] for name in ("v1", "linux")] == [SKIPPED, WASTED]
    for label in ("none -> present", "SAVED_DIRTY set", "SOFTW4 cleared"):
        assert [verdicts(rows, label)[name] for name in ("v1", "linux")] == [WASTED, SKIPPED]


def test_the_clean_case(rows: list[Row]) -> None:
    """Every rule flushes when RW of a clean entry is cleared, and none needs to do so on a processor that
    walks again.
    """
    assert set(verdicts(rows, "RW cleared (D=0)").values()) == {WASTED}
    assert set(verdicts(rows, "RW cleared (D=1)").values()) == {DONE}


def test_nobody_flushes_for_global(rows: list[Row]) -> None:
    """v3 and minimal treat G as a software bit."""
    found = verdicts(rows, "G cleared")

    assert {name for name, verdict in found.items() if verdict == MISSING} == {"v3", "minimal"}


def test_huge_entries(rows: list[Row]) -> None:
    """A policy that flushes a huge PMD inline misses nothing; linux flushes when A is cleared of one."""
    assert all(
        cell.verdict != MISSING
        for row in rows
        if row.huge
        for name, cell in zip(NAMES, row.cells, strict=True)
        if name in ("always", "v1")
    )
    assert verdicts(rows, "A cleared")["linux"] == SKIPPED
    assert verdicts(rows, "A cleared", huge=True)["linux"] == WASTED


def test_a_rule_that_never_flushes_misses_every_needed_flush() -> None:
    """Each row that needs a flush has a missing cell with a counterexample, and no other row has one."""
    never = Policy("never", lambda _old, _new: False, huge_inline=False)
    rows = table_of([LoadedPolicy(never, "never", "1")])

    assert {row.cells[0].verdict for row in rows if row.needed == YES} == {MISSING}
    assert {row.cells[0].verdict for row in rows if row.needed != YES} == {SKIPPED}
    assert all(
        (row.cells[0].need.counterexample is not None) == (row.needed != "no") for row in rows
    )


def test_seeded_faults_have_their_stories() -> None:
    """A fault of the rule is a missing cell that names the corpus' story of it."""
    for name, label in (
        ("skip-write-protect", "RW cleared (D=1)"),
        ("trust-accessed", "RW cleared, A set (D=1)"),
    ):
        rows = table_of([load_policy(name)])
        (cell,) = [row.cells[0] for row in rows if row.label == label and not row.huge]
        assert (cell.verdict, bool(cell.stories)) == (MISSING, True), name


def test_every_case_is_in_one_row(rows: list[Row]) -> None:
    """The contexts of a change are split among its rows: a policy that is asked again agrees with the row."""
    linux = load_policy("linux").policy
    at = NAMES.index("linux")
    for row in rows:
        cell = row.cells[at]
        flushed = linux.flushes(cell.old, cell.new, huge=row.huge)
        assert flushed == (cell.verdict in (DONE, WASTED)), row.label


def test_lines_fit(rows: list[Row]) -> None:
    """No line is longer than it may be, however many policies there are, and no policy is left out."""
    for width, times in ((100, 1), (100, 3), (70, 1)):
        many = [replace(row, cells=row.cells * times) for row in rows]
        lines = list(lines_of(many, RULES * times, width))
        assert max(map(len, lines)) <= width
        headings = [line for line in lines if line.startswith("4 KiB: one flag")]
        assert sum(line.count("linux-5.19") for line in headings) == times


def test_the_page_shows_real_lines(rows: list[Row]) -> None:
    """The excerpt in docs/flush-table.md is output of the command, in its order."""
    page = (ROOT / "docs" / "flush-table.md").read_text()
    excerpt = re.search(r"^```text\n(4 KiB: .*?)```$", page, re.MULTILINE | re.DOTALL)
    assert excerpt is not None
    shown = [line for line in excerpt[1].splitlines() if line != "..."]
    printed = iter(lines_of(rows, RULES, WIDTH))

    assert len(shown) > 9
    assert [line for line in shown if line not in printed] == []


@pytest.mark.parametrize("width", [1, 2, 3])
def test_cubes_cover_exactly(width: int) -> None:
    """The terms name the contexts from which they were made, and no others."""
    numbers = range(1 << width)
    for bits in range(1, 1 << len(numbers)):
        wanted = [n for n in numbers if bits >> n & 1]
        cubes = cubes_of(wanted, width)
        assert [n for n in numbers if any(n & m == v for m, v in cubes)] == wanted


def test_words_of_cubes() -> None:
    """All contexts need no words."""
    assert words_of(cubes_of([*range(8)], 3), "abc") == ""
    assert words_of(cubes_of([0, 2, 4, 6], 3), "abc") == "a=0"
    assert words_of(cubes_of([0, 3], 2), "ab") == "a=0, b=0; a=1, b=1"
