"""The guarantees of single passes, each on the smallest story that needs it."""

import pytest

from shootdown.minimize import cpus, deletion, fields, header, pages, schedule
from shootdown.minimize.reducer import Pass
from shootdown.scenario import Scenario, kinds
from tests.reducing import among, contains, lines, reduced
from tests.toy_models import story

NOISE = "\n".join(f"cpu{at % 3} read p{at % 2}" for at in range(20))


def test_cut_tail() -> None:
    """In a long scenario, everything after the last needed record is removed."""
    start = story(f"cpu0 read p0\ncpu0 munmap p0\n{NOISE}")

    left = reduced(deletion.cut_tail, start, contains("cpu0 munmap p0"))

    assert lines(left) == ["cpu0 read p0", "cpu0 munmap p0"]


def test_keep_one_page() -> None:
    """In a long scenario, all records about pages other than that of the last record are removed."""
    start = story(f"{NOISE}\ncpu0 munmap p1-p2\ncpu0 fork\ncpu0 write p2")

    left = reduced(deletion.keep_one_page, start, contains("cpu0 write p2"))

    assert lines(left) == ["cpu0 munmap p1-p2", "cpu0 fork", "cpu0 write p2"]


def test_drop_groups() -> None:
    """In a long scenario, all records of a CPU, and all records of a kind, are removed at once."""
    start = story(f"{NOISE}\n" + "cpu0 munmap p0\n" * 13 + "cpu0 fork")

    left = reduced(deletion.drop_groups, start, contains("cpu0 fork"))

    assert lines(left) == ["cpu0 fork"]


def test_drop_records_leaves_none_that_can_go() -> None:
    """No single record of the result can be removed."""
    start = story(f"cpu2 munmap p0\n{NOISE}\ncpu2 fork\n{NOISE}\ncpu0 write p2\n{NOISE}")
    needed = ("cpu2 munmap p0", "cpu2 fork", "cpu0 write p2")

    left = reduced(deletion.drop_records, start, contains(*needed))

    assert lines(left) == list(needed)


def test_compact_cpus() -> None:
    """CPUs are named by first use, and those without a record are removed."""
    start = story("cpu2 read p0\ncpu0 write p0\ncpu2 fork")

    left = reduced(cpus.compact_cpus, start, lambda _: True)

    assert lines(left) == ["cpu0 read p0", "cpu1 write p0", "cpu0 fork"]
    assert left.header.cpus == 2


def test_merge_cpus() -> None:
    """One CPU does the work of two."""
    start = story("cpu0 read p0\ncpu1 write p0\ncpu2 fork")

    left = reduced(cpus.merge_cpus, start, lambda scenario: scenario.header.cpus > 1)

    assert lines(left) == ["cpu0 read p0", "cpu0 write p0", "cpu1 fork"]


def test_merge_cpus_by_a_fill() -> None:
    """An access in the middle of the other CPU's operation becomes a speculative fill."""
    start = story("cpu0 fork until flush\ncpu1 read p0", cpus=2, pages=1)
    end = story("cpu0 fork until flush\ncpu0 fill p0", cpus=1, pages=1)

    assert end == reduced(cpus.merge_cpus, start, among(start, end))


def test_reassign_cpus() -> None:
    """From some record on, two CPUs exchange their work."""
    start = story("cpu0 read p0\ncpu1 write p0\ncpu0 fork\ncpu1 fork", cpus=2)
    end = story("cpu0 read p0\ncpu0 write p0\ncpu1 fork\ncpu0 fork", cpus=2)

    assert end == reduced(cpus.reassign_cpus, start, among(start, end))


def test_compact_pages() -> None:
    """Pages at which nothing starts or ends are removed, and ranges keep their meaning."""
    start = story("cpu0 read p7\ncpu0 munmap p2-p7\ncpu0 read p2", pages=8)
    ends = ["cpu0 read p1", "cpu0 munmap p0-p1", "cpu0 read p0"]

    left = reduced(pages.compact_pages, start, lambda scenario: scenario.header.pages > 1)

    assert lines(left) == ends
    assert left.header.pages == 2


def test_drop_calls() -> None:
    """Calls that are not needed are removed, accesses stay."""
    start = story("cpu0 write p0\ncpu0 fork\ncpu0 munmap p0\ncpu0 read p0")

    left = reduced(deletion.drop_calls, start, contains("cpu0 munmap p0"))

    assert lines(left) == ["cpu0 write p0", "cpu0 munmap p0", "cpu0 read p0"]


@pytest.mark.parametrize(
    ("records", "least"),
    [
        ("cpu0 read p0\ncpu0 munmap p1\ncpu1 munmap p0", "cpu0 read p0\ncpu1 munmap p0"),
        ("cpu0 read p1\ncpu0 munmap p0-p1", "cpu0 munmap p0"),
        ("cpu0 munmap p0-p1\ncpu0 read p0", "cpu0 munmap p0\ncpu0 read p0"),
        ("cpu0 read p0\ncpu0 mremap p0 to p1", "cpu0 read p0"),
    ],
)
def test_drop_pages(records: str, least: str) -> None:
    """A page is removed together with the records that name only it; ranges get shorter."""
    start, end = story(records, pages=2), story(least, pages=1)

    assert end == reduced(pages.drop_pages, start, among(start, end))


def test_drop_lower_page() -> None:
    """Pages above the removed one move down by one, also as destinations."""
    start = story("cpu0 read p0\ncpu0 munmap p0-p1\ncpu0 mremap p1 to p2")
    end = story("cpu0 munmap p0\ncpu0 mremap p0 to p1", pages=2)

    assert end == reduced(pages.drop_pages, start, among(start, end))


def test_merge_pages() -> None:
    """Two neighbouring pages become one wherever they are named."""
    start = story("cpu0 read p0\ncpu0 mremap p1 to p2\ncpu0 read p3", pages=4)
    end = story("cpu0 read p0\ncpu0 mremap p0 to p1\ncpu0 read p2", pages=3)

    assert end == reduced(pages.merge_pages, start, among(start, end))


def test_reorder_pages() -> None:
    """Pages are named by first use."""
    start = story("cpu0 read p2\ncpu0 write p0\ncpu0 mremap p2 to p1")

    left = reduced(pages.reorder_pages, start, lambda _: True)

    assert lines(left) == ["cpu0 read p0", "cpu0 write p1", "cpu0 mremap p0 to p2"]


def test_reorder_pages_sorts_accesses() -> None:
    """Pages are exchanged even if that first needs another order of the accesses."""
    start = story("cpu0 read p0\ncpu0 read p1\ncpu0 munmap p1\ncpu0 free p0", pages=2)
    end = story("cpu0 read p0\ncpu0 read p1\ncpu0 munmap p0\ncpu0 free p1", pages=2)

    assert end == reduced(pages.reorder_pages, start, among(start, end))


def test_lower_header() -> None:
    """Switches, identifiers and batch pages that are not needed are removed one by one."""
    start = story("cpu0 fork")
    start = Scenario(start.header._replace(machine=3, asids=4, batch=4), start.records)

    left = reduced(
        header.lower_header,
        start,
        lambda scenario: scenario.header.machine & kinds.AMD > 0 and scenario.header.asids > 1,
    )

    assert left.header[-3:] == (kinds.AMD, 2, 1)


def test_lower_layout_with_writes() -> None:
    """A layout is lowered even if that needs writes in place of reads."""
    start = story("cpu0 read p0\ncpu0 read p0", layout="shared")
    end = story("cpu0 write p0\ncpu0 read p0")

    assert end == reduced(header.lower_layout, start, among(start, end))


def test_lower_layout_with_a_hole() -> None:
    """Instead of mapping all other pages, the unmapped page is unmapped by a call."""
    start = story("cpu0 mmap p0 rw private\ncpu0 read p0", pages=2, layout="empty")
    end = story("cpu0 munmap p1\ncpu0 read p0", pages=2)

    assert end == reduced(header.lower_layout, start, among(start, end))


def test_lower_shared_pages() -> None:
    """Records on one page move to a lower page together."""
    start = story("cpu0 read p2\ncpu0 munmap p2")

    left = reduced(
        fields.lower_shared_pages, start, lambda s: s.records[0][3] == s.records[1][3] > 0
    )

    assert lines(left) == ["cpu0 read p1", "cpu0 munmap p1"]


def test_lower_shared_spaces() -> None:
    """Records on one address space move to a lower one together."""
    start = story("cpu0 switch mm2\ncpu1 age p0 mm2")
    end = story("cpu0 switch mm1\ncpu1 age p0 mm1")

    assert end == reduced(fields.lower_shared_spaces, start, among(start, end))


def test_lower_shared_spaces_without_forks() -> None:
    """The fork that made the address space is removed together with it."""
    start = story("cpu0 write p0\ncpu0 fork\ncpu0 reclaim p0 mm1")
    end = story("cpu0 write p0\ncpu0 reclaim p0 mm0")

    assert end == reduced(fields.lower_shared_spaces, start, among(start, end))


def test_lower_shared_spaces_on_fewer_identifiers() -> None:
    """The last fork and an identifier are removed together with the address space."""
    start = story("cpu0 fork\ncpu0 switch mm1\ncpu0 fork\ncpu0 switch mm2")
    end = story("cpu0 fork\ncpu0 switch mm1\ncpu0 switch mm1")
    start = Scenario(start.header._replace(asids=2), start.records)

    assert end == reduced(fields.lower_shared_spaces, start, among(start, end))


def test_clear_protections() -> None:
    """A right that no access needs is removed from all protections together."""
    start = story("cpu0 mmap p0 rwx private\ncpu0 mprotect p0 rx")
    end = story("cpu0 mmap p0 rw private\ncpu0 mprotect p0 r")

    assert end == reduced(fields.clear_protections, start, among(start, end))


@pytest.mark.parametrize(
    ("simplify", "record", "least"),
    [
        (fields.lower_ranges, "cpu0 munmap p0-p2", "cpu0 munmap p0"),
        (fields.lower_ranges, "cpu0 read p2", "cpu0 read p0"),
        (fields.lower_runs, "cpu0 fork for 9", "cpu0 fork"),
        (fields.lower_kinds, "cpu0 exec p1", "cpu0 read p1"),
        (fields.lower_kinds, "cpu0 evict p1", "cpu0 read p1"),
        (fields.lower_kinds, "cpu0 dontneed p1-p2", "cpu0 read p1"),
        (fields.lower_arguments, "cpu0 mprotect p0 wx", "cpu0 mprotect p0 none"),
        (fields.lower_arguments, "cpu0 mmap p0 x shared", "cpu0 mmap p0 x private"),
        (fields.lower_arguments, "cpu0 switch mm2", "cpu0 switch mm0"),
    ],
)
def test_lower_one_field(simplify: Pass, record: str, least: str) -> None:
    """When nothing matters, a pass over fields takes the simplest value that it knows."""
    assert [least] == lines(reduced(simplify, story(record), lambda _: True))


def test_lower_mremap() -> None:
    """Munmap has the same effect as mremap on its destination."""
    start = story("cpu0 write p0\ncpu0 mremap p1 to p0")
    end = story("cpu0 write p0\ncpu0 munmap p0")

    assert end == reduced(fields.lower_kinds, start, among(start, end))


def test_lower_runs_to_a_named_point() -> None:
    """The simplest point with the same effect replaces a number of steps."""
    start = story("cpu0 fork for 9")

    left = reduced(fields.lower_runs, start, lambda scenario: scenario.records[0][2] > 8)

    assert lines(left) == ["cpu0 fork until lock"]


def test_merge_pauses() -> None:
    """A pause and the record that ends it become one record."""
    start = story("cpu0 fork until lock\ncpu1 read p0\ncpu0 run until flush")
    end = story("cpu1 read p0\ncpu0 fork until flush")

    assert end == reduced(schedule.merge_pauses, start, among(start, end))


def test_merge_pauses_anywhere() -> None:
    """Two pauses in a row become one at a point that neither of them named."""
    start = story("cpu0 migrate p0 mm0 until unlock\ncpu0 run until unlock")
    end = story("cpu0 migrate p0 mm0 until ack")

    assert end == reduced(schedule.merge_pauses_anywhere, start, among(start, end))


def test_swap_neighbours() -> None:
    """Records that commute end in one order, with CPUs named by first use."""
    start = story("cpu0 write p0\ncpu1 read p0\ncpu1 fork")
    end = story("cpu0 read p0\ncpu1 write p0\ncpu0 fork")

    assert end == reduced(schedule.swap_neighbours, start, among(start, end))


def test_map_at_the_start() -> None:
    """An mmap is removed in exchange for a layout that has the same memory everywhere."""
    start = story("cpu0 mmap p0 rw file\ncpu0 write p0", layout="empty")
    end = story("cpu0 write p0", layout="file")

    assert end == reduced(header.map_at_the_start, start, among(start, end))
