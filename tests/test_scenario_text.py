"""The text form: it round-trips exactly, and a mistake in a text is reported in one sentence."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.fuzz.engines.strategies import scenarios
from shootdown.scenario import (
    Expectation,
    Header,
    ParsedScenario,
    Scenario,
    ScenarioError,
    decode,
    kinds,
    parse,
    render,
    render_record,
)
from shootdown.scenario.text import RULES

STORY = """\
# A write fills the TLB of CPU 0.
#
#   Indented, and with a # inside.
shootdown-scenario 1
cpus 2
pages 4
layout private
machine amd stray-dirty
asids 2
batch 3
expect v1 C2 denied-though-allowed
expect linux-5.19 legal

cpu0 write p0
cpu1 mprotect p0-p2 rx until flush
cpu0 mmap p1 rw shared for 3
cpu0 mremap p0-p1 to p2
cpu1 migrate p3 mm0
cpu1 switch mm2
cpu0 fill p3
cpu1 run
cpu1 munmap p0-p3 until return
"""

PLAIN = "shootdown-scenario 1\ncpus 2\npages 3\nlayout private\n"

WORD = st.text("abcxyz019.:_-", min_size=1, max_size=12)
EXPECTATION = st.one_of(
    WORD.map(Expectation), st.builds(Expectation, WORD, st.sampled_from(RULES), WORD)
)
COMMENT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp"))).map(
    str.rstrip
)


def parsed_or_refused(text: str) -> ParsedScenario | ScenarioError:
    """Return what parse returns, or the one exception that it may raise."""
    try:
        return parse(text)
    except ScenarioError as error:
        return error


@given(scenarios(), st.lists(COMMENT, max_size=3), st.lists(EXPECTATION, max_size=3))
def test_a_scenario_survives_its_text(
    scenario: Scenario, comments: list[str], expectations: list[Expectation]
) -> None:
    """Parsing a rendered scenario gives back all parts, and rendering that the same text."""
    text = render(scenario, comments, expectations)
    parsed = parse(text)

    assert parsed == ParsedScenario(scenario, tuple(comments), tuple(expectations))
    assert render(*parsed) == text


@given(st.binary(max_size=60))
def test_every_switch_and_field_survives_the_text(data: bytes) -> None:
    """This includes what no generator draws: a machine without the dirty re-walk."""
    scenario = decode(data)

    assert parse(render(scenario)).scenario == scenario


def test_the_canonical_text() -> None:
    """What a person writes in canonical form is printed back letter by letter."""
    parsed = parse(STORY)

    until_flush = kinds.FIRST_POINT + kinds.POINTS.index("flush")
    machine = kinds.AMD | kinds.STRAY_DIRTY
    assert parsed.scenario.header == Header(2, 4, kinds.PRIVATE, machine, 2, 3)
    assert parsed.scenario.records[1] == (kinds.MPROTECT, 1, until_flush, 0, 3, 5)
    assert (kinds.MMAP, 0, 3, 1, 1, 3 | kinds.MAP_SHARED << 3) == parsed.scenario.records[2]
    assert (kinds.MREMAP, 0, 0, 0, 2, 2) == parsed.scenario.records[3]
    assert parsed.comments[1:] == ("", "  Indented, and with a # inside.")
    assert parsed.expectations[1] == Expectation("linux-5.19")
    assert STORY == render(*parsed)


def test_a_text_need_not_be_canonical() -> None:
    """Blank lines, spaces, comments and the order of header lines are free."""
    text = """

  # story
    shootdown-scenario   1 # not part of the story
  layout private
  expect v1   legal
# nor is this
  pages 3
  cpus\t2

  cpu0   mprotect  p1-p1  r   # until where?

  cpu1 read p2
"""
    expected = f"# story\n{PLAIN}expect v1 legal\n\ncpu0 mprotect p1 r\ncpu1 read p2\n"

    assert render(*parse(text)) == expected
    assert parse(text) == parse(text.replace("\n", "\r\n"))


def test_a_comment_of_several_lines_stays_a_comment() -> None:
    """A line break in a comment cannot introduce a line that is not a comment."""
    text = render(Scenario(Header(1, 1), ()), ["one\n\ncpus 9 ", "\r"])

    assert parse(text).comments == ("one", "", "cpus 9", "")


def test_a_record_renders_as_its_line() -> None:
    """Timelines and traces print records in the same words as the scenario."""
    assert render_record((kinds.AGE, 1, 1, 0, 1, 2)) == "cpu1 age p0 mm2 for 1"


@given(st.text())
def test_no_text_raises_anything_but_a_scenario_error(text: str) -> None:
    """Arbitrary text is refused in a sentence that names a line of it."""
    with pytest.raises(ScenarioError, match=r"^line \d+: expected ") as caught:
        parse(text)

    assert 1 <= caught.value.line <= text.count("\n") + 1


@given(scenarios(max_records=6), st.integers(0, 2**32))
def test_a_mistyped_text_is_parsed_or_refused(scenario: Scenario, seed: int) -> None:
    """Up to three slips in a good text never raise anything but ScenarioError."""
    draws = random.Random(seed)
    text = render(scenario, ["story"], [Expectation("v1", "C2", "denied-though-allowed")])
    for _ in range(draws.randrange(1, 4)):
        start = draws.randrange(len(text))
        end = start + draws.choice((0, 1, 1, 2, 9))
        slip = draws.choice(
            ("", "0", "9", "-", "p", " ", "\n", "#", "\x00", "²", text[start:end] * 2)
        )
        text = text[:start] + slip + text[end:]

    result = parsed_or_refused(text)

    if isinstance(result, ScenarioError):
        assert 1 <= result.line <= text.count("\n") + 1
        assert str(result).startswith(f"line {result.line}: expected ")
        assert "\n" not in str(result)
    else:
        assert parse(render(*result)) == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected 'shootdown-scenario 1' as the first line, but the text ends"),
        (
            "# story\nshootdown-scenario 2\n",
            (
                "line 2: expected 'shootdown-scenario 1' as the first line, "
                "but found 'shootdown-scenario 2'"
            ),
        ),
        ("shootdown-scenario 1 2", "line 1: expected the end of the line, but found '2'"),
        (
            "shootdown-scenario 1\ncpus 2\n",
            "line 2: expected a line 'pages' before the first operation, but the text ends",
        ),
        (
            "shootdown-scenario 1\ncpus 2\npages 1\ncpu0 run",
            "line 4: expected a line 'layout' before the first operation, but found 'cpu0'",
        ),
        (
            "shootdown-scenario 1\ncpus 9",
            "line 2: expected a number from 1 to 8, but found '9'",
        ),
        (
            "shootdown-scenario 1\ncpus " + "1" * 5000,
            f"line 2: expected a number from 1 to 8, but found '{'1' * 40}'...",
        ),
        ("shootdown-scenario 1\ncpus", "line 2: expected a number from 1 to 8, but the line ends"),
        (PLAIN + "cpus 2", "line 5: expected only one line 'cpus', but found 'cpus'"),
        (
            PLAIN + "machine amd amd",
            (
                "line 5: expected a machine switch that is not set yet "
                f"({', '.join(kinds.SWITCHES)}), but found 'amd'"
            ),
        ),
        (
            PLAIN + "speed 3",
            (
                "line 5: expected a header line (cpus, pages, layout, machine, asids, batch, expect) "
                "or an operation such as 'cpu0 run', but found 'speed'"
            ),
        ),
        (
            PLAIN + "expect v1 C9 x",
            "line 5: expected 'legal' or a rule (C1, C2, C3, C4, C5, C6, C7, C8, cost), but found 'C9'",
        ),
        (
            PLAIN + "expect v1 C1",
            "line 5: expected the reason that the rule gives, but the line ends",
        ),
        (PLAIN + "expect", "line 5: expected the name of a policy, but the line ends"),
        (
            PLAIN + "cpu0 run\nbatch 2",
            (
                "line 6: expected only operations such as 'cpu0 read p0' from the first one on, "
                "but found 'batch'"
            ),
        ),
        (PLAIN + "cpu2 run", "line 5: expected a CPU from cpu0 to cpu1, but found 'cpu2'"),
        (PLAIN + "cpu0 read p3", "line 5: expected a page from p0 to p2, but found 'p3'"),
        (PLAIN + "cpu0 read p0-p1", "line 5: expected a page from p0 to p2, but found 'p0-p1'"),
        (
            PLAIN + "cpu0 free p2-p1",
            (
                "line 5: expected a page from p0 to p2 or an upward range such as p0-p2, "
                "but found 'p2-p1'"
            ),
        ),
        (
            PLAIN + "cpu0 free p0-",
            (
                "line 5: expected a page from p0 to p2 or an upward range such as p0-p2, "
                "but found 'p0-'"
            ),
        ),
        (
            PLAIN + "cpu0 mprotect p0 wr",
            "line 5: expected a protection (none, r, w, rw, x, rx, wx, rwx), but found 'wr'",
        ),
        (
            PLAIN + "cpu0 mmap p0 rw",
            (
                "line 5: expected a protection (none, r, w, rw, x, rx, wx, rwx) "
                "and a type (private, shared, huge, file), but found 'rw'"
            ),
        ),
        (
            PLAIN + "cpu0 mremap p0 to p3",
            "line 5: expected 'to' and a destination page of the scenario, but found 'to p3'",
        ),
        (
            PLAIN + "cpu0 read p0 for 16",
            "line 5: expected a number of steps from 1 to 15, but found '16'",
        ),
        (
            PLAIN + "cpu0 read p0 twice",
            (
                "line 5: expected 'for' and a number of steps, 'until' and a point, "
                "or the end of the line, but found 'twice'"
            ),
        ),
        (
            PLAIN + "cpu0 evict p0 for 1",
            "line 5: expected what is evicted (upper, both, fetch) or the end of the line, but found 'for'",
        ),
        (
            PLAIN.replace("3", "1") + "cpu0 read p1",
            "line 5: expected the only page, p0, but found 'p1'",
        ),
    ],
    ids=lambda value: "" if value.startswith("line ") else value[-30:].replace("\n", " "),
)
def test_an_error_says_the_line_and_what_was_expected(text: str, message: str) -> None:
    """Each mistake has one sentence: the line, what would have been right, and what the line has."""
    with pytest.raises(ScenarioError) as caught:
        parse(text)

    assert str(caught.value) == message


def test_an_unknown_operation_is_answered_with_the_list_of_all() -> None:
    """The sentence names every operation."""
    with pytest.raises(ScenarioError, match="but found 'raed'") as caught:
        parse(PLAIN + "cpu0 raed p0")

    assert all(kind.name in str(caught.value) for kind in kinds.KINDS)
