"""The guarantees of the passes that change several places at once, or go up before they go down."""

import ast
from pathlib import Path

import pytest

from shootdown.minimize import escape_kinds, escape_schedule, fields, joint, resume
from shootdown.minimize.reducer import Pass
from shootdown.mm.operations import OPERATIONS
from shootdown.scenario import Scenario
from tests.reducing import among, reduced
from tests.toy_models import story


@pytest.mark.parametrize("module", [escape_kinds, escape_schedule, joint, resume])
def test_no_escape_names_an_operation(module: object) -> None:
    """The declarations of the operations say what stands for what: an escape names only accesses."""
    named = {each.name.upper() for each in OPERATIONS if not each.access}
    tree = ast.parse(Path(str(getattr(module, "__file__", ""))).read_text())
    words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}

    assert not words & named


def test_split_accesses() -> None:
    """An access to two pages is a load and a store."""
    start = story("cpu0 copy p0 to p1\ncpu1 munmap p0")
    end = story("cpu0 read p0\ncpu0 write p1\ncpu1 munmap p0")

    assert end == reduced(fields.split_accesses, start, among(start, end))


def test_join_calls_hands_down_a_protection() -> None:
    """A mapping gets its later protection at once."""
    start = story("cpu0 mmap p0 none shared\ncpu0 read p1\ncpu0 mprotect p0 rw")
    end = story("cpu0 mmap p0 rw shared\ncpu0 read p1")

    assert end == reduced(joint.join_calls, start, among(start, end))


def test_join_calls_with_another_protection() -> None:
    """A right that is taken away and given back is one that is given."""
    start = story("cpu0 write p0\ncpu0 mprotect p0 r\ncpu0 mprotect p0 rw\ncpu0 write p0")
    end = story("cpu0 write p0\ncpu0 mprotect p0 rwx\ncpu0 write p0")

    assert end == reduced(joint.join_calls, start, among(start, end))


def test_join_calls_joins_ranges() -> None:
    """If two calls have halves of a range, the last one does both."""
    start = story("cpu0 munmap p0\ncpu1 read p0\ncpu0 munmap p1-p3 until flush", cpus=2, pages=4)
    end = story("cpu1 read p0\ncpu0 munmap p0-p3 until flush", cpus=2, pages=4)

    assert end == reduced(joint.join_calls, start, among(start, end))


def test_join_calls_of_ranges_that_do_not_touch() -> None:
    """Calls with a page between them stay."""
    start = story("cpu0 munmap p0\ncpu1 read p0\ncpu0 munmap p2-p3", cpus=2, pages=4)

    assert start == reduced(joint.join_calls, start, lambda _: True)


def test_a_right_that_is_granted() -> None:
    """The right that is granted is execution, and a fetch needs it."""
    start = story("cpu0 write p0\ncpu0 mmap p0 rw shared\ncpu0 write p0")
    end = story("cpu0 read p0\ncpu0 mprotect p0 rx\ncpu0 exec p0")

    assert end == reduced(escape_kinds.escape_by_kind, start, among(start, end))


def test_the_simplest_story_of_a_right() -> None:
    """A right that one CPU grants and then uses itself may be all that is needed."""
    start = story("cpu0 write p0\ncpu0 fork until change\ncpu1 write p0\ncpu0 write p0", cpus=2)
    end = story("cpu0 read p0\ncpu0 mprotect p0 rx\ncpu0 exec p0", cpus=1, pages=1)

    assert end == reduced(escape_kinds.escape_by_kind, start, among(start, end))


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
    """A CPU that waits for the lock of a paused call lets it finish, and the record that did so is removed."""
    start, end = story(records, pages=1), story(least, pages=pages)

    assert end == reduced(resume.resume_by_waiting, start, among(start, end))


def test_resume_by_waiting_asks_only_where_another_cpu_comes_between() -> None:
    """Nothing is tried for an access that pauses, nor if the paused call goes on at once or never."""
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
            escape_kinds.escape_by_kind,
            story("cpu0 read p0\ncpu0 free p0\ncpu0 read p0"),
            story("cpu0 write p0\ncpu0 free p0\ncpu0 write p0"),
            story("cpu0 write p0\ncpu0 free p0"),
        ),
        (
            escape_kinds.escape_by_kind,
            story("cpu0 fork\ncpu0 mprotect p0 r\ncpu1 mprotect p0 r\ncpu0 read p0"),
            story("cpu0 fork\ncpu0 dontneed p0\ncpu1 dontneed p0\ncpu0 read p0"),
            story("cpu0 dontneed p0\ncpu1 dontneed p0\ncpu0 read p0"),
        ),
        (
            escape_kinds.escape_by_layout,
            story("cpu0 write p1\ncpu0 mprotect p0 r\ncpu0 read p0"),
            story("cpu0 write p1\ncpu0 mprotect p0 r\ncpu0 read p0", layout="readonly"),
            story("cpu0 write p1\ncpu0 read p0", layout="readonly"),
        ),
        (
            escape_kinds.escape_by_kind,
            story("cpu0 dontneed p0\ncpu0 write p0\ncpu1 pin p0", layout="huge"),
            story("cpu0 dontneed p0\ncpu0 write p1\ncpu1 pin p1", layout="huge"),
            story("cpu0 dontneed p0\ncpu1 pin p1", layout="huge"),
        ),
        (
            escape_kinds.escape_by_substitute,
            story("cpu0 switch mm1\ncpu1 munmap p0\ncpu1 read p0"),
            story("cpu0 lazy\ncpu1 munmap p0\ncpu1 read p0"),
            story("cpu0 lazy\ncpu1 munmap p0"),
        ),
        (
            escape_schedule.escape_by_pause,
            story("cpu0 write p0\ncpu1 munmap p1\ncpu1 fork until unlock\ncpu0 read p0"),
            story("cpu0 write p0\ncpu1 munmap p1\ncpu1 fork until window\ncpu0 read p0"),
            story("cpu0 write p0\ncpu1 fork until window\ncpu0 read p0"),
        ),
        (
            escape_schedule.escape_by_pause,
            story("cpu0 write p0\ncpu0 munmap p1\ncpu0 fork until unlock\ncpu1 read p0"),
            story("cpu0 write p0\ncpu0 munmap p1\ncpu1 fork until window\ncpu0 read p0"),
            story("cpu0 write p0\ncpu1 fork until window\ncpu0 read p0"),
        ),
        (
            escape_kinds.escape_by_dropping,
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
            escape_kinds.escape_by_substitute,
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
            escape_schedule.escape_by_place,
            story("cpu0 read p0\ncpu0 fork\ncpu1 write p0"),
            story("cpu0 write p0\ncpu1 read p0\ncpu1 fork"),
            story("cpu0 write p0\ncpu1 fork"),
        ),
        (
            escape_schedule.escape_by_cpu,
            story("cpu0 free p0 until ack\ncpu1 fork\ncpu0 fork\ncpu1 read p0", cpus=2),
            story("cpu1 free p0 until ack\ncpu0 fork\ncpu0 fork\ncpu1 read p0", cpus=2),
            story("cpu1 free p0 until ack\ncpu0 fork\ncpu1 read p0", cpus=2),
        ),
    ],
    ids=[
        "kind",
        "kinds",
        "layout",
        "beside",
        "substitute",
        "pause",
        "pause-cpu",
        "dropping",
        "substitute-load",
        "place",
        "cpu",
    ],
)
def test_escape(leave: Pass, start: Scenario, above: Scenario, end: Scenario) -> None:
    """A scenario that is not simpler leads to a simpler one; only then is the best scenario left."""
    assert end == reduced(leave, start, among(start, above, end))
    assert start == reduced(leave, start, among(start, above))


def test_escape_by_substitute_in_one_address_space() -> None:
    """A switch to another space becomes lazy mode, and the switch back stays."""
    way = "cpu0 read p0\ncpu0 {}\ncpu1 munmap p0\ncpu0 switch mm0"
    start = story("cpu0 fork\n" + way.format("switch mm1"), cpus=2)
    above = story("cpu0 fork\n" + way.format("lazy"), cpus=2)
    end = story(way.format("lazy"), cpus=2)

    assert end == reduced(escape_kinds.escape_by_substitute, start, among(start, above, end))


def test_escape_by_pause_of_two_operations() -> None:
    """Where two operations meet, one reaches its flush, and from the other on the CPUs have exchanged their work."""
    start = story(
        "cpu0 write p0\ncpu1 free p0 until flush\ncpu0 munmap p0 until change\ncpu1 read p0", cpus=2
    )
    end = story(
        "cpu0 write p0\ncpu0 free p0 until flush\ncpu1 munmap p0 until flush\ncpu0 read p0", cpus=2
    )

    assert end == reduced(escape_schedule.escape_by_pause, start, among(start, end))


def test_escape_by_place_to_completion() -> None:
    """An operation that pauses over its neighbour runs to completion on the other side of it."""
    start = story("cpu0 fork until lock\ncpu1 munmap p0 until flush\ncpu0 read p0")
    end = story("cpu0 munmap p0 until flush\ncpu1 fork\ncpu1 read p0")

    assert end == reduced(escape_schedule.escape_by_place, start, among(start, end))


def test_escape_by_place_without_a_call() -> None:
    """An access moves to the front, and a call that it passes is removed."""
    start = story("cpu0 write p0\ncpu0 mprotect p0 rw\ncpu0 read p0\ncpu0 migrate p0 mm0")
    end = story("cpu0 read p0\ncpu0 write p0\ncpu0 migrate p0 mm0")

    assert end == reduced(escape_schedule.escape_by_place, start, among(start, end))


def test_escape_by_place_on_a_cpu_of_its_own() -> None:
    """A record that only holds a page comes last, on a CPU that has nothing else to do."""
    calls = "cpu{} dontneed p0 until flush\ncpu{} free p0 until flush"
    held = "cpu{} migrate p0 mm0 until lock"
    start = story(f"cpu0 write p0\n{held}\n{calls}\ncpu3 write p0".format(0, 1, 2), cpus=4)
    above = story(f"cpu0 write p0\n{calls}\n{held}\ncpu4 write p0".format(1, 2, 3), cpus=5)
    end = story(f"cpu0 write p0\n{calls}\n{held}\ncpu3 write p0".format(0, 1, 2), cpus=4)

    assert end == reduced(escape_schedule.escape_by_place, start, among(start, above, end))


def test_a_revocation_may_be_a_hole() -> None:
    """A hole in the file takes the same pages as a driver's revocation."""
    start = story(
        "cpu0 read p0\ncpu1 mremap p0 to p1 until window\ncpu0 revoke p0", layout="pfnmap"
    )
    end = story("cpu0 read p0\ncpu1 mremap p0 to p1 until window\ncpu0 punch p0", layout="file")

    assert end == reduced(escape_kinds.escape_by_layout, start, among(start, end))


def test_a_hole_may_be_a_call_in_private_memory() -> None:
    """A simple call on a private page that was written has the effect of an operation that only a file has."""
    start = story("cpu0 read p0\ncpu1 punch p0", layout="file")
    end = story("cpu0 write p0\ncpu1 munmap p0")

    assert end == reduced(escape_kinds.escape_by_layout, start, among(start, end))


def test_the_first_of_several_calls_alone() -> None:
    """Two calls that leave the region alike are one that drops a page."""
    start = story("cpu0 mprotect p0 none\ncpu0 mprotect p1-p2 none\ncpu0 pin p0 until lock")
    end = story("cpu0 dontneed p0\ncpu0 pin p0 until lock")

    assert end == reduced(escape_kinds.escape_by_kind, start, among(start, end))


def test_rename_keys() -> None:
    """Protection keys are named in the order of their first use."""
    calls = "cpu0 pkey_mprotect p0 r k{0}\ncpu0 wrpkru none k{0}\ncpu0 wrpkru r k{1}"
    start, end = story(calls.format(2, 1)), story(calls.format(1, 2))

    assert end == reduced(fields.rename_keys, start, among(start, end))
