"""What the passes guarantee that change several places at once, or go up before they go down."""

import pytest

from shootdown.minimize import (
    escape,
    escape_overlap,
    escape_pages,
    escape_spaces,
    fields,
    joint,
    resume,
)
from shootdown.minimize.reducer import Pass
from shootdown.scenario import Scenario, kinds
from tests.reducing import among, reduced
from tests.toy_models import story


def test_align_accesses() -> None:
    """Accesses and the call that forbids them are lowered together."""
    start = story("cpu0 write p0\ncpu0 mprotect p0 r\ncpu0 write p0")
    end = story("cpu0 read p0\ncpu0 mprotect p0 none\ncpu0 read p0")

    assert end == reduced(joint.align_accesses, start, among(start, end))


def test_align_accesses_removes_a_call() -> None:
    """With aligned accesses one of two calls goes."""
    start = story("cpu0 mprotect p0 rx\ncpu0 exec p0\ncpu0 munmap p0\ncpu0 exec p0")
    end = story("cpu0 write p0\ncpu0 mprotect p0 r\ncpu0 write p0")

    assert end == reduced(joint.align_accesses, start, among(start, end))


def test_hand_down_protection() -> None:
    """A mapping gets at once the protection that it was given later."""
    start = story("cpu0 mmap p0 none shared\ncpu0 read p1\ncpu0 mprotect p0 rw")
    end = story("cpu0 mmap p0 rw shared\ncpu0 read p1")

    assert end == reduced(joint.hand_down_protection, start, among(start, end))


def test_align_promotion() -> None:
    """A right that is granted is execution, and a fetch is what needs it."""
    start = story("cpu0 mprotect p0 r\ncpu0 read p0\ncpu0 mprotect p0 rw\ncpu0 write p0")
    end = story("cpu0 read p0\ncpu0 mprotect p0 rx\ncpu0 exec p0")

    assert end == reduced(joint.align_promotion, start, among(start, end))


def test_align_promotion_behind_a_pause() -> None:
    """A fetch that pauses before the mprotect comes behind it, and another call goes."""
    start = story("cpu0 read p0\ncpu0 dontneed p0\ncpu0 exec p0 for 12\ncpu1 mprotect p0 rx")
    end = story("cpu0 read p0\ncpu1 mprotect p0 rx\ncpu0 exec p0")

    assert end == reduced(joint.align_promotion, start, among(start, end))


def test_align_grant() -> None:
    """A right that one CPU grants and then uses itself may be all that is needed."""
    start = story("cpu0 write p0\ncpu0 fork until change\ncpu1 write p0\ncpu0 write p0", cpus=2)
    end = story("cpu0 read p0\ncpu0 mprotect p0 rx\ncpu0 exec p0", cpus=1, pages=1)

    assert end == reduced(joint.align_grant, start, among(start, end))


def test_resume_by_access() -> None:
    """What waits for the lock of a paused operation becomes a load by that operation's CPU."""
    start = story("cpu0 mprotect p0 r until ack\ncpu1 munmap p0\ncpu1 read p0", cpus=2)
    end = story("cpu0 mprotect p0 r until ack\ncpu0 read p0\ncpu1 read p0", cpus=2)

    assert end == reduced(resume.resume_by_access, start, among(start, end))


@pytest.mark.parametrize(
    ("records", "least", "pages"),
    [
        (
            "cpu0 lazy\ncpu1 munmap p0 until ack\ncpu0 read p0\ncpu1 run\ncpu0 read p0",
            "cpu0 lazy\ncpu1 munmap p0 until ack\ncpu0 read p1\ncpu0 read p0",
            2,
        ),
        (
            "cpu0 lazy\ncpu1 munmap p0 until ack\ncpu0 read p0\ncpu1 read p0\ncpu0 read p0",
            "cpu0 lazy\ncpu1 munmap p0 until ack\ncpu0 munmap p0\ncpu0 read p0",
            1,
        ),
        (
            "cpu0 lazy\ncpu1 munmap p0 until ack\ncpu0 munmap p0\ncpu0 read p0",
            "cpu0 lazy\ncpu1 munmap p0 until ack\ncpu0 read p1\ncpu0 read p0",
            2,
        ),
    ],
    ids=["load", "call", "load-for-call"],
)
def test_resume_by_waiting(records: str, least: str, pages: int) -> None:
    """A CPU that waits for the lock of a paused call lets it finish, and the record that did goes."""
    start, end = story(records, pages=1), story(least, pages=pages)

    assert end == reduced(resume.resume_by_waiting, start, among(start, end))


def test_resume_by_waiting_asks_only_where_another_cpu_comes_between() -> None:
    """Nothing is tried for an access that pauses, nor where the paused call goes on at once or never."""
    start = story(
        "cpu0 read p0 until fault\ncpu1 read p0\ncpu0 run\n"
        "cpu1 fork until ack\ncpu1 run\ncpu1 fork until ack\ncpu0 read p0"
    )
    asked: list[Scenario] = []

    def interesting(scenario: Scenario) -> bool:
        asked.append(scenario)
        return True

    assert start == reduced(resume.resume_by_waiting, start, interesting)
    assert asked == [start]


@pytest.mark.parametrize(
    ("leave", "start", "above", "end"),
    [
        (
            escape.escape_by_kind,
            story("cpu0 read p0\ncpu0 free p0\ncpu0 read p0"),
            story("cpu0 write p0\ncpu0 free p0\ncpu0 write p0"),
            story("cpu0 write p0\ncpu0 free p0"),
        ),
        (
            escape.escape_by_kind,
            story("cpu0 fork\ncpu0 mprotect p0 r\ncpu1 mprotect p0 r\ncpu0 read p0"),
            story("cpu0 fork\ncpu0 dontneed p0\ncpu1 dontneed p0\ncpu0 read p0"),
            story("cpu0 dontneed p0\ncpu1 dontneed p0\ncpu0 read p0"),
        ),
        (
            escape.escape_by_layout,
            story("cpu0 write p1\ncpu0 mprotect p0 r\ncpu0 read p0"),
            story("cpu0 write p1\ncpu0 mprotect p0 r\ncpu0 read p0", layout="readonly"),
            story("cpu0 write p1\ncpu0 read p0", layout="readonly"),
        ),
        (
            escape.escape_by_split,
            story("cpu0 dontneed p0\ncpu0 write p0\ncpu1 pin p0", layout="huge"),
            story("cpu0 dontneed p0\ncpu0 write p1\ncpu1 pin p1", layout="huge"),
            story("cpu0 dontneed p0\ncpu1 pin p1", layout="huge"),
        ),
        (
            escape.escape_by_laziness,
            story("cpu0 switch mm1\ncpu1 munmap p0\ncpu1 read p0"),
            story("cpu0 lazy\ncpu1 munmap p0\ncpu1 read p0"),
            story("cpu0 lazy\ncpu1 munmap p0"),
        ),
        (
            escape.escape_by_window,
            story("cpu0 write p0\ncpu1 munmap p1\ncpu1 fork until unlock\ncpu0 read p0"),
            story("cpu0 write p0\ncpu1 munmap p1\ncpu1 fork until window\ncpu0 read p0"),
            story("cpu0 write p0\ncpu1 fork until window\ncpu0 read p0"),
        ),
        (
            escape.escape_by_window,
            story("cpu0 write p0\ncpu0 munmap p1\ncpu0 fork until unlock\ncpu1 read p0"),
            story("cpu0 write p0\ncpu0 munmap p1\ncpu1 fork until window\ncpu0 read p0"),
            story("cpu0 write p0\ncpu1 fork until window\ncpu0 read p0"),
        ),
        (
            escape.escape_by_dropping,
            story(
                "cpu0 read p0\ncpu0 uffd_register p0\ncpu1 mprotect p1 r until ack\n"
                "cpu0 munmap p0 until ack\ncpu1 write p0\ncpu0 write p0"
            ),
            story(
                "cpu0 read p0\ncpu0 uffd_register p0\ncpu1 dontneed p1 until ack\n"
                "cpu0 dontneed p0 until ack\ncpu1 run\ncpu0 read p0"
            ),
            story(
                "cpu0 read p0\ncpu1 dontneed p1 until ack\n"
                "cpu0 dontneed p0 until ack\ncpu1 run\ncpu0 read p0"
            ),
        ),
        (
            escape.escape_by_scan,
            story(
                "cpu0 uffd_register p0\ncpu0 read p0\ncpu0 uffd_wp p0 until ack\ncpu1 dontneed p0"
            ),
            story(
                "cpu0 uffd_register p0\ncpu0 read p0\ncpu0 numa_scan p0 stay until ack\n"
                "cpu1 dontneed p0\ncpu1 read p0"
            ),
            story("cpu0 read p0\ncpu0 numa_scan p0 stay until ack\ncpu1 dontneed p0\ncpu1 read p0"),
        ),
        (
            escape.escape_by_place,
            story("cpu0 read p0\ncpu0 fork\ncpu1 write p0"),
            story("cpu0 write p0\ncpu1 read p0\ncpu1 fork"),
            story("cpu0 write p0\ncpu1 fork"),
        ),
        (
            escape.escape_by_cpu,
            story("cpu0 free p0 until ack\ncpu1 fork\ncpu0 fork\ncpu1 read p0", cpus=2),
            story("cpu1 free p0 until ack\ncpu0 fork\ncpu0 fork\ncpu1 read p0", cpus=2),
            story("cpu1 free p0 until ack\ncpu0 fork\ncpu1 read p0", cpus=2),
        ),
    ],
    ids=[
        "kind",
        "kinds",
        "layout",
        "split",
        "laziness",
        "window",
        "window-cpu",
        "dropping",
        "scan",
        "place",
        "cpu",
    ],
)
def test_escape(leave: Pass, start: Scenario, above: Scenario, end: Scenario) -> None:
    """A scenario that is not simpler leads to one that is, and only then is left."""
    assert end == reduced(leave, start, among(start, above, end))
    assert start == reduced(leave, start, among(start, above))


def test_escape_by_hint() -> None:
    """A scan and the fault behind it stand for a right that goes and a migration."""
    start = story("cpu0 write p0\ncpu0 mprotect p0 none until change\ncpu1 migrate p0 mm0")
    end = story("cpu0 write p0\ncpu0 numa_scan p0 move until commit\ncpu1 read p0")

    assert end == reduced(escape.escape_by_hint, start, among(start, end))


def test_escape_by_late_load() -> None:
    """A copy that is overtaken, and goes on at the end, stands for a load there."""
    start = story(
        "cpu0 copy p0 to p0 until lock\ncpu1 write p0\ncpu1 numa_scan p0 move until change"
    )
    end = story("cpu1 write p0\ncpu1 numa_scan p0 move until commit\ncpu0 read p0")

    assert end == reduced(escape_overlap.escape_by_late_load, start, among(start, end))


def test_escape_by_flushes() -> None:
    """Of three operations that pause two exchange their CPUs and wait for their flushes."""
    behind = "cpu2 migrate p0 mm0 until lock"
    start = story(
        f"cpu0 write p0\ncpu1 dontneed p0 until flush\ncpu0 free p0 until change\n{behind}", cpus=3
    )
    end = story(
        f"cpu0 write p0\ncpu0 dontneed p0 until flush\ncpu1 free p0 until flush\n{behind}", cpus=3
    )

    assert end == reduced(escape_overlap.escape_by_flushes, start, among(start, end))


def test_join_ranges() -> None:
    """Of two calls on halves of a range the last one does both."""
    start = story("cpu0 munmap p0\ncpu1 read p0\ncpu0 munmap p1-p3 until flush", cpus=2, pages=4)
    end = story("cpu1 read p0\ncpu0 munmap p0-p3 until flush", cpus=2, pages=4)

    assert end == reduced(escape_pages.join_ranges, start, among(start, end))


def test_join_ranges_that_do_not_touch() -> None:
    """Calls with a page between them stay."""
    start = story("cpu0 munmap p0\ncpu1 read p0\ncpu0 munmap p2-p3", cpus=2, pages=4)

    assert start == reduced(escape_pages.join_ranges, start, lambda _: True)


def test_escape_by_split_exchanges_two_pages() -> None:
    """Where a call has the second of two pages, what names one of them from there on names the other."""
    start = story("cpu0 read p0\ncpu0 dontneed p1\ncpu1 lazy\ncpu1 pin p0", layout="huge")
    end = story("cpu0 read p0\ncpu0 dontneed p0\ncpu1 lazy\ncpu1 pin p1", layout="huge")

    assert end == reduced(escape.escape_by_split, start, among(start, end))


def test_migrate_alone() -> None:
    """A page that a hint fault moves is moved by a migration."""
    start = story("cpu0 write p0\ncpu0 numa_scan p0 move\ncpu1 read p0 until unlock\ncpu0 read p0")
    end = story("cpu0 read p0\ncpu0 write p0\ncpu0 migrate p0 mm0")

    assert end == reduced(escape_pages.migrate_alone, start, among(start, end))


def test_without_the_split_of_a_huge_page() -> None:
    """Pages that are alike as the zeros of a huge page are made so by a copy."""
    start = story(
        "cpu0 read p0\ncpu0 dontneed p0\ncpu0 copy p0 to p0\ncpu1 ksm p0 mm0", layout="huge"
    )
    end = story("cpu0 write p0\ncpu0 copy p0 to p1\ncpu1 ksm p0 mm0")

    assert end == reduced(escape_pages.without_huge_pages, start, among(start, end))


def test_a_revocation_may_be_a_hole() -> None:
    """What a driver takes back a hole in the file takes as well."""
    start = story(
        "cpu0 read p0\ncpu1 mremap p0 to p1 until window\ncpu0 revoke p0", layout="pfnmap"
    )
    end = story("cpu0 read p0\ncpu1 mremap p0 to p1 until window\ncpu0 punch p0", layout="file")

    assert end == reduced(escape.escape_by_layout, start, among(start, end))


def test_the_first_of_several_calls_alone() -> None:
    """Two calls that leave the region alike are one that drops a page."""
    start = story("cpu0 mprotect p0 none\ncpu0 mprotect p1-p2 none\ncpu0 pin p0 until lock")
    end = story("cpu0 dontneed p0\ncpu0 pin p0 until lock")

    assert end == reduced(escape.escape_by_kind, start, among(start, end))


def test_undo_switches() -> None:
    """A switch to and fro goes, with what comes behind it in the other space."""
    way = "cpu0 poke p0\ncpu0 switch {}\ncpu0 read p0"
    start = story("cpu0 fork\ncpu0 switch mm1\ncpu0 switch mm0\n" + way.format("mm1"))
    end = story("cpu0 fork\ncpu0 switch mm1\n" + way.format("mm0"))

    assert end == reduced(escape_spaces.undo_switches, start, among(start, end))


def test_undo_switches_with_two_identifiers() -> None:
    """Where a broadcast has kept what a CPU cached, a second identifier may."""
    start = story("cpu0 fork\ncpu0 switch mm1\ncpu0 switch mm0\ncpu0 read p0")
    start = start._replace(header=start.header._replace(machine=kinds.INVLPGB))
    end = story("cpu0 fork\ncpu0 switch mm1\ncpu0 read p0")
    end = end._replace(header=end.header._replace(asids=2))

    assert end == reduced(escape_spaces.undo_switches, start, among(start, end))


def test_rename_keys() -> None:
    """Protection keys are named in the order of their first use."""
    calls = "cpu0 pkey_mprotect p0 r k{0}\ncpu0 wrpkru none k{0}\ncpu0 wrpkru r k{1}"
    start, end = story(calls.format(2, 1)), story(calls.format(1, 2))

    assert end == reduced(fields.rename_keys, start, among(start, end))


def test_escape_by_late_pause() -> None:
    """What only holds a page comes last, by a CPU that has nothing else to do."""
    calls = "cpu{} dontneed p0 until flush\ncpu{} free p0 until flush"
    held = "cpu{} migrate p0 mm0 until lock"
    start = story(f"cpu0 write p0\n{held}\n{calls}\ncpu3 write p0".format(0, 1, 2), cpus=4)
    above = story(f"cpu0 write p0\n{calls}\n{held}\ncpu4 write p0".format(1, 2, 3), cpus=5)
    end = story(f"cpu0 write p0\n{calls}\n{held}\ncpu3 write p0".format(0, 1, 2), cpus=4)

    assert end == reduced(escape_overlap.escape_by_late_pause, start, among(start, above, end))
