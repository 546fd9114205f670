"""`shootdown table`: its output, its exit codes, and what it refuses."""

import re
from pathlib import Path

import pytest

from tests.command import complaint, document, inside

SAFE = '''"""Flush at every change."""


def needs_flush(old: int, new: int) -> bool:
    return True
'''
NEVER = '''"""Never flush."""

from shootdown.optimized.policy import Policy

POLICY = Policy("never", lambda old, new: False, huge_inline=False)
'''


def test_json(tmp_path: Path) -> None:
    """Every row has a cell for each policy, in their order, and the missing ones are counted."""
    table = document(tmp_path, "table", "--policy", "linux", "--policy", "v1", code=1)

    assert [policy["name"] for policy in table["policies"]] == ["linux", "v1"]
    assert [policy["handler"] for policy in table["policies"]] == ["linux", "linux"]
    cells = [cell for row in table["rows"] for cell in row["cells"]]
    assert len(cells) == 2 * len(table["rows"])
    missing = [cell for cell in cells if cell["verdict"] == "missing"]
    assert len(missing) == table["missing"] > 0
    (row,) = [row for row in table["rows"] if (row["size"], row["change"]) == ("4K", "NX cleared")]
    linux, v1 = row["cells"]
    assert [cell["verdict"] for cell in (linux, v1)] == ["done", "missing"]
    assert linux["counterexample"] == v1["counterexample"]
    assert v1["counterexample"] == {
        "old": "P US NX",
        "new": "P US",
        "events": ["CPU 1 fetches, which its stale entry denies"],
        "reason": "denied-though-allowed",
        "rule": "C2",
        "machine": [],
    }


def test_the_handler_of_each_policy_is_told(tmp_path: Path) -> None:
    """In the text and on the page every policy is listed with the page-fault handler under which it is judged."""
    policies = ("--policy", "linux", "--policy", "v3", "--policy", "minimal-exec-check")
    text = " ".join(inside(tmp_path, "table", *policies).out.split())
    inside(tmp_path, "table", *policies, "--html", "table.html")
    page = (tmp_path / "table.html").read_text()

    for words in (text[text.index("Judged under") :], page[page.index("Judged under") :]):
        assert re.search(r"\blinux, which [^:]+: linux\.", words)
        assert re.search(r"\bexec-check, which [^:]+: v3, minimal-exec-check\.", words)


def test_the_clean_case_in_json(tmp_path: Path) -> None:
    """The counterexample of the clean case names the processor that it needs."""
    table = document(tmp_path, "table", "--policy", "linux", code=0)
    (row,) = [
        row
        for row in table["rows"]
        if (row["size"], row["change"], row["context"]) == ("4K", "RW cleared", "D=0")
    ]
    (cell,) = row["cells"]

    assert (row["needed"], cell["verdict"], cell["gains"]) == (
        "without-rewalk",
        "wasted",
        ["without-rewalk"],
    )
    assert cell["counterexample"]["machine"] == ["no-dirty-rewalk"]


def test_exit_codes_of_a_users_file(tmp_path: Path) -> None:
    """0 when nothing is missing, 1 when something is; the same policy twice is one column."""
    (tmp_path / "safe.py").write_text(SAFE)
    (tmp_path / "never.py").write_text(NEVER)

    safe = inside(tmp_path, "table", "--policy", "safe.py", "--policy", "safe.py")
    never = inside(tmp_path, "table", "--policy", "never.py")

    assert (safe.code, never.code) == (0, 1)
    assert "No flush is missing." in safe.out
    assert safe.out.splitlines()[0].split()[-2:] == ["needed", "safe"]
    assert "old P US RW D -> P US D; CPU 1 writes through its stale entry: stale-grant (C1)" in (
        never.out
    )


def test_page(tmp_path: Path) -> None:
    """Each missing cell links to its counterexample, and the page asks for nothing from elsewhere."""
    ended = inside(tmp_path, "table", "--policy", "v1", "--policy", "v3", "--html", "table.html")
    page = (tmp_path / "table.html").read_text()
    links = re.findall(r'href="#(missing-\d+)"', page)

    assert (ended.code, len(ended.out.splitlines())) == (1, 1)
    assert links
    assert links == re.findall(r'<li id="(missing-\d+)">', page)
    assert "http" not in page
    assert "bad_c2_v1_nx_promotion" in page


def test_same_output_twice(tmp_path: Path) -> None:
    """The same policies give the same bytes."""
    first, second = (inside(tmp_path, "table", "--policy", "minimal") for _ in range(2))

    assert first == second


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--policy", "linus"], "Did you mean linux"),
        (["--policy", "absent.py"], "cannot be read"),
        (["--policy", "v1", "--json", "--html", "x.html"], "either --html or --json"),
        (["--policy", "linux", "--html", "no/folder.html"], "cannot be written"),
        (["extra"], "unexpected extra argument"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], words: str) -> None:
    """One sentence and exit code 2."""
    assert words in complaint(tmp_path, "table", *arguments)


def test_a_rule_that_raises(tmp_path: Path) -> None:
    """The sentence names the line of the user's file."""
    (tmp_path / "raises.py").write_text(
        "def needs_flush(old: int, new: int) -> bool:\n    return bool(1 // (old >> 1 & 1))\n"
    )

    assert "raises.py, line 2: ZeroDivisionError" in complaint(
        tmp_path, "table", "--policy", "raises.py"
    )


def test_against_a_base(tmp_path: Path) -> None:
    """Only rows in which the policy does otherwise than the base are shown; what the base misses too is not counted."""
    same = inside(tmp_path, "table", "--policy", "v1", "--against", "v1")
    other = document(tmp_path, "table", "--policy", "v1", "--against", "linux", code=1)
    back = document(tmp_path, "table", "--policy", "linux", "--against", "v1")

    assert (same.code, same.out) == (0, "Nothing is done otherwise than by v1.\n")
    assert [policy["name"] for policy in other["policies"]] == ["v1", "linux"]
    assert "NX cleared" in {row["change"] for row in other["rows"]}
    for row in (*other["rows"], *back["rows"]):
        assert len({cell["verdict"] for cell in row["cells"]}) == 2
