"""`shootdown findings`: queries of the database."""

import csv
import io
import json
import subprocess
from pathlib import Path

import pytest

from shootdown.store import FORMATS, VIEWS, end_campaign, hold_lease, open_store
from tests.command import SHOOTDOWN, complaint, document, inside, shootdown
from tests.store_samples import CAMPAIGN, MINIMUM, instant, store_with_finding

DB = "findings.db"
KEY = MINIMUM.key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder whose findings.db has one finding, of a campaign that has ended."""
    with store_with_finding(tmp_path / DB) as store:
        end_campaign(store, CAMPAIGN.id, status="finished", ended=instant(9))
    return tmp_path


def test_list(folder: Path) -> None:
    """The list has one line for each finding, with id, policy, rule, reason and skip."""
    _, line = shootdown(folder, "findings", "list").out.splitlines()

    assert line.split()[:5] == [KEY[:16], "v1", "C2", "denied-though-allowed", "nx-cleared"]


def test_list_can_be_narrowed(folder: Path) -> None:
    """The list can be restricted to one policy, one rule, one campaign."""
    assert len(document(folder, "findings", "list", "--policy", "v1", "--campaign", "night")) == 1
    assert document(folder, "findings", "list", "--rule", "C1") == []
    assert inside(folder, "findings", "list", "--policy", "v3").out == "No findings.\n"


def test_show(folder: Path) -> None:
    """A finding is shown with scenario, trace, history and sightings; the last line replays it."""
    text = inside(folder, "findings", "show", KEY[:6]).out

    assert text.splitlines()[0].startswith(f"Finding {KEY[:16]}, policy v1: C2")
    assert "  cpu0 write p0\n" in text
    assert "  value  grants\n  5      rw\n" in text
    assert "night" in text
    assert text.splitlines()[-1] == f"  shootdown replay {KEY[:16]}"


def test_show_names_the_base(folder: Path) -> None:
    """A finding of a campaign against a base is shown with the base, and replayed under both."""
    with open_store(folder / DB, create=False) as store:
        store.db.execute("UPDATE campaigns SET base = 'mine', base_version = 'a dir/mine.py@1'")
        store.db.conn.commit()
    text = inside(folder, "findings", "show", KEY).out

    (row,) = [line for line in text.splitlines() if "night" in line]
    assert row.split()[2] == "mine"
    assert text.splitlines()[-1] == f"  shootdown replay {KEY[:16]} --against 'a dir/mine.py'"
    assert document(folder, "findings", "show", KEY)["sightings"][0]["base"] == "mine"


def test_show_as_json(folder: Path) -> None:
    """As JSON a finding has its minimum, sightings, trace, replays and the command."""
    shown = document(folder, "findings", "show", KEY)

    assert (shown["key"], shown["sightings"][0]["name"]) == (KEY, "night")
    assert shown["replay"] == f"shootdown replay {KEY[:16]}"


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_answers(folder: Path, view: str) -> None:
    """Every named view answers as a table and as JSON."""
    assert inside(folder, "findings", "query", view).code == 0
    assert isinstance(document(folder, "findings", "query", view), list)


def test_query_without_a_name_lists_the_views(folder: Path) -> None:
    """Without a name, the views are listed with what they answer."""
    assert set(document(folder, "findings", "query")) == set(VIEWS)
    assert VIEWS["by-rule"].description in inside(folder, "findings", "query").out


def test_query_takes_parameters(folder: Path) -> None:
    """A view's parameter is given as name=value."""
    assert document(folder, "findings", "query", "recent", "limit=0") == []
    assert len(document(folder, "findings", "query", "recent", "limit=5")) == 1
    assert "is not a parameter" in complaint(folder, "findings", "query", "recent", "limit")
    assert "has no parameter x" in complaint(folder, "findings", "query", "recent", "x=1")


def test_sql(folder: Path) -> None:
    """Raw SQL answers as a table and as JSON, byte strings as hex digits."""
    statement = "SELECT rule, scenario FROM findings"

    assert document(folder, "findings", "sql", statement) == [
        {"rule": "C2", "scenario": MINIMUM.scenario.hex()}
    ]
    assert "C2" in inside(folder, "findings", "sql", statement).out


def test_sql_cannot_write(folder: Path) -> None:
    """SQL that would write is refused in one sentence, and nothing is lost."""
    line = complaint(folder, "findings", "sql", "DELETE FROM sightings")

    assert "Refused" in line
    assert len(document(folder, "findings", "list")) == 1


def test_export_text_is_a_scenario_file(folder: Path) -> None:
    """The text export of one finding is a file that can be replayed."""
    inside(folder, "findings", "export", KEY[:6], "--output", "finding.txt")

    assert inside(folder, "replay", "finding.txt", "--policy", "linux").code == 0


def test_every_format_has_every_finding(folder: Path) -> None:
    """Each format names the finding and its policy, and no two formats are the same."""
    written = [inside(folder, "findings", "export", "--format", form).out for form in FORMATS]

    assert len({*written}) == len(FORMATS)
    assert [text for text in written if KEY[:16] not in text or "v1" not in text] == []


def test_export_for_programs(folder: Path) -> None:
    """The JSON and CSV exports carry the finding."""
    (line,) = inside(folder, "findings", "export", "--format", "jsonl").out.splitlines()
    (row,) = csv.DictReader(
        io.StringIO(inside(folder, "findings", "export", "--format", "csv").out)
    )

    assert json.loads(line)["key"] == row["key"] == KEY


def test_export_as_json(folder: Path) -> None:
    """With --json the export is one JSON value, the findings as `list --json` has them, to a file too."""
    listed = document(folder, "findings", "list")

    assert document(folder, "findings", "export") == listed
    assert document(folder, "findings", "export", KEY[:6]) == listed
    assert document(folder, "findings", "export", "--rule", "C1") == []
    inside(folder, "findings", "export", "--format", "json", "--output", "all.json")
    assert json.loads((folder / "all.json").read_text()) == listed


def test_export_options_that_contradict(folder: Path) -> None:
    """Two forms at once, the database as output, and findings together with options that choose are refused."""
    export = ("findings", "export")

    assert "exclude each other" in complaint(folder, *export, "--json", "--format", "csv")
    assert "is the database itself" in complaint(folder, *export, "--output", f"./{DB}")
    assert "Give either findings or" in complaint(folder, *export, KEY, "--rule", "C1")


def test_long_results_are_not_laid_out(folder: Path) -> None:
    """If a result has more rows than a table may have, they are lines with tabs, each value on its line; JSON has all
    of them.
    """
    numbers = (
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
        " SELECT i, 'a' || char(9, 10) || 'b' AS text FROM n"
    )

    *_, last = inside(folder, "findings", "sql", numbers.format(1000)).out.splitlines()
    heading, first, *rows = inside(folder, "findings", "sql", numbers.format(1001)).out.splitlines()

    assert "\t" not in last
    assert (heading, first, len(rows)) == ("i\ttext", "1\ta\\t\\nb", 1000)
    assert len(document(folder, "findings", "sql", numbers.format(1001))) == 1001


def test_endless_result_is_printed_as_it_comes(folder: Path) -> None:
    """The rows of a query that never ends reach a reader, and the query ends with its reader."""
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"

    for option in ((), ("--json",)):
        process = subprocess.Popen(
            [SHOOTDOWN, "findings", "sql", endless, *option],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() in {b"i\n", b"[\n"}
        process.stdout.close()
        _, error = process.communicate(timeout=60)
        assert (process.returncode, error) == (141, b"")


def test_merge(folder: Path) -> None:
    """Merging brings everything into a database that need not exist, and a second time changes nothing."""
    first = document(folder, "findings", "merge", DB, "--db", "all.db")
    second = document(folder, "findings", "merge", DB, "--db", "all.db")

    assert first[DB]["findings"] == 1
    assert set(second[DB].values()) == {0}
    assert [
        finding["key"] for finding in document(folder, "findings", "list", "--db", "all.db")
    ] == [KEY]


def test_killed_campaign_is_marked(tmp_path: Path) -> None:
    """The first command that looks at the campaign of a killed process marks it as interrupted, and says so once."""
    store_with_finding(tmp_path / DB).close()

    first = inside(tmp_path, "findings", "sql", "SELECT status FROM campaigns", "--json")
    second = inside(tmp_path, "findings", "sql", "SELECT status FROM campaigns", "--json")

    assert json.loads(first.out) == [{"status": "interrupted"}]
    assert "the campaign night any more" in first.err
    assert (second.out, second.err) == (first.out, "")


def test_running_campaign_is_left_alone(tmp_path: Path) -> None:
    """A campaign whose process is alive stays as it is."""
    with store_with_finding(tmp_path / DB) as store:
        lease = hold_lease(store, CAMPAIGN.id)
        assert lease is not None
        ended = inside(tmp_path, "findings", "sql", "SELECT status FROM campaigns", "--json")
        lease.release()

    assert (json.loads(ended.out), ended.err) == ([{"status": "running"}], "")


def test_unusable_database(folder: Path) -> None:
    """A missing, a foreign and a newer database are one sentence each, and stay as they are."""
    (folder / "text.db").write_text("no database" * 100)
    with open_store(folder / "newer.db", create=True) as store, store.transaction() as db:
        db.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('shootdown', 'later', '')"
        )

    assert "no.db does not exist" in complaint(folder, "findings", "list", "--db", "no.db")
    assert "not a SQLite database" in complaint(folder, "findings", "list", "--db", "text.db")
    assert "newer shootdown" in complaint(folder, "findings", "list", "--db", "newer.db")
    assert "newer shootdown" in complaint(folder, "replay", KEY, "--db", "newer.db")
    assert "newer shootdown" in complaint(folder, "fuzz", "--policy", "v1", "--db", "newer.db")
    assert (folder / "text.db").read_text() == "no database" * 100


def test_unknown_things(folder: Path) -> None:
    """An unknown finding, campaign, view and output path are one sentence each."""
    assert "has no finding" in complaint(folder, "findings", "show", "ffffffff")
    assert "no campaign named day" in complaint(folder, "findings", "list", "--campaign", "day")
    assert "There is no view nothing" in complaint(folder, "findings", "query", "nothing")
    assert "cannot be written" in complaint(
        folder, "findings", "export", "--output", "no/such/file"
    )
