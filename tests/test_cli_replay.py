"""`shootdown replay`: a finding or a file, run again."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.evidence.investigate import Investigation
from shootdown.policy.source import load_policy
from shootdown.run.execute import execute
from shootdown.scenario import encode, parse
from shootdown.store import list_replays, open_store, record_finding, start_campaign
from tests.command import CORPUS, NX, complaint, document, inside, shootdown
from tests.store_samples import CAMPAIGN, sighting

DB = "findings.db"


@pytest.fixture
def finding(tmp_path: Path) -> str:
    """Return the key of the NX promotion of v1, in the database of the folder."""
    return store_finding(tmp_path, "v1", "0.1.0")


def store_finding(folder: Path, policy: str, version: str) -> str:
    """Store what the policy shows on the NX scenario, as a campaign would."""
    scenario = parse(NX).scenario
    loaded = load_policy(policy)
    found = Investigation(loaded.policy).investigate(
        encode(scenario), execute(scenario, loaded.policy.make())
    )
    with open_store(folder / DB, create=True) as store:
        campaign = replace(CAMPAIGN, policy=loaded.name, policy_version=version)
        seen = sighting(start_campaign(store, campaign))
        return record_finding(store, found.minimum, seen, found.evidence).key


def test_finding_still_fails(tmp_path: Path, finding: str) -> None:
    """A finding that still fails ends with 1; the report's last line replays it."""
    ended = shootdown(tmp_path, "replay", finding[:8])

    assert ended.code == 1
    assert ended.out.splitlines()[0] == (
        f"finding {finding[:16]}, policy v1: illegal, C2 denied-though-allowed"
    )
    assert ended.out.splitlines()[-1] == f"  shootdown replay {finding[:16]}"


def test_last_line_is_a_command_that_works(tmp_path: Path, finding: str) -> None:
    """The command that a report ends with shows the same again."""
    first = inside(tmp_path, "replay", finding[:8])
    words = shlex.split(first.out.splitlines()[-1])

    assert inside(tmp_path, *words[1:]) == first


def test_replay_is_recorded(tmp_path: Path, finding: str) -> None:
    """Every replay of a finding is in the database, and whether it showed the same."""
    inside(tmp_path, "replay", finding)
    inside(tmp_path, "replay", finding, "--policy", "linux")

    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        replays = {(r.policy, r.verdict, r.reproduced) for r in list_replays(store, finding)}
    assert replays == {("v1", "illegal", True), ("linux", "legal", False)}


def test_other_policy_may_be_legal(tmp_path: Path, finding: str) -> None:
    """Under an unbroken policy the finding is legal, and the exit code is 0."""
    ended = inside(tmp_path, "replay", finding, "--policy", "linux")

    assert (ended.code, "policy linux: legal" in ended.out) == (0, True)


def test_finding_of_a_file_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The finding of a user's policy is replayed without naming the file, as long as the file is in its old place."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "from dataclasses import replace\n"
        "from shootdown.optimized.policies import REGISTRY\n"
        "POLICY = replace(REGISTRY['v1'], name='mine')\n"
    )
    key = store_finding(tmp_path, "mine.py", load_policy("mine.py").version)

    assert inside(tmp_path, "replay", key).code == 1
    Path("mine.py").unlink()
    assert "Give the policy mine with --policy" in complaint(tmp_path, "replay", key)


def test_text_file(tmp_path: Path) -> None:
    """A scenario file is run under the policy that is named."""
    (tmp_path / "nx.txt").write_text(NX)

    assert inside(tmp_path, "replay", "nx.txt", "--policy", "v1").code == 1
    assert inside(tmp_path, "replay", "nx.txt", "--policy", "linux").code == 0


def test_binary_file(tmp_path: Path) -> None:
    """The bytes of a fuzzer's input are a scenario, and show what its text shows."""
    (tmp_path / "crash.bin").write_bytes(encode(parse(NX).scenario))

    (run,) = document(tmp_path, "replay", "crash.bin", "--policy", "v1", code=1)["runs"]

    assert run["scenario"] == NX


def test_expectations_choose_the_policies(tmp_path: Path) -> None:
    """Without --policy a text is run under each policy of its expect lines, and compared with them."""
    path = CORPUS / "bad_c2_v1_nx_promotion.txt"

    runs = document(tmp_path, "replay", path, code=1)["runs"]

    verdicts = {run["policy"]: run["verdict"] for run in runs}
    assert verdicts["v1"] == "illegal"
    assert {verdict for name, verdict in verdicts.items() if name != "v1"} == {"legal"}
    assert all(run["as_expected"] for run in runs)


def test_pause_that_is_never_made_is_said(tmp_path: Path) -> None:
    """A pause that a run does not make is one line of the report, a short one too, and part of the JSON."""
    text = NX.replace("mprotect p0 rx", "mprotect p0 rx until copy")
    (tmp_path / "nx.txt").write_text(text)
    (tmp_path / "two.txt").write_text(
        text.replace("\n\n", "\nexpect linux legal\nexpect always legal\n\n")
    )
    line = (
        "Pause not made: cpu0 mprotect p0 rx until copy (record 2): the operation ended before it."
    )

    full = inside(tmp_path, "replay", "nx.txt", "--policy", "linux").out
    short = inside(tmp_path, "replay", "two.txt").out
    (run,) = document(tmp_path, "replay", "nx.txt", "--policy", "linux")["runs"]

    assert full.splitlines().count(line) == 1
    assert short.splitlines().count(line) == 2
    assert run["missed_pauses"] == [{"record": 1, "point": "copy", "why": "ended"}]


def test_unexpected_verdict_is_said(tmp_path: Path) -> None:
    """A run that differs from its expect line says so."""
    (tmp_path / "nx.txt").write_text(NX.replace("\n\n", "\nexpect linux C1 stale-grant\n\n"))

    ended = inside(tmp_path, "replay", "nx.txt")

    assert ended.code == 0
    assert ended.out.startswith("NOT as expected, which was C1 stale-grant.\n")


def test_trace_can_be_left_out_or_asked_for(tmp_path: Path) -> None:
    """The timeline is shown for an illegal run unless --no-trace, and for a legal one with --trace."""
    (tmp_path / "nx.txt").write_text(NX)

    def has_trace(policy: str, *options: str) -> bool:
        return (
            "mmap_write_lock,"
            in inside(tmp_path, "replay", "nx.txt", "--policy", policy, *options).out
        )

    assert (has_trace("v1"), has_trace("v1", "--no-trace")) == (True, False)
    assert (has_trace("linux"), has_trace("linux", "--trace")) == (False, True)


def test_json_has_all_the_evidence(tmp_path: Path, finding: str) -> None:
    """As JSON a replay has steps, history, TLB entries, open operations, and the command."""
    (run,) = document(tmp_path, "replay", finding, code=1)["runs"]

    assert (run["skip"], run["page"], run["as_expected"]) == ("mprotect:NX-cleared", "p0", True)
    assert run["steps"][-1]["operation"] == "exec p0"
    assert run["history"][-1]["rights"] == "r-x"
    assert run["replay"] == f"shootdown replay {finding[:16]}"
    assert json.dumps(run)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("shootdown-scenario 2\n", "line 1: expected"),
        ("", "the text ends"),
        (NX.replace("rx", "rq"), "line 7: expected"),
    ],
)
def test_broken_scenario(tmp_path: Path, text: str, sentence: str) -> None:
    """A broken scenario file is one sentence that names file and line."""
    (tmp_path / "broken.txt").write_text(text)

    line = complaint(tmp_path, "replay", "broken.txt", "--policy", "v1")

    assert line.startswith("shootdown: broken.txt, line ")
    assert sentence in line


def test_unusable_targets(tmp_path: Path, finding: str) -> None:
    """A target that is neither a file nor a finding, and a file without a policy, are one sentence each."""
    (tmp_path / "nx.txt").write_text(NX)
    (tmp_path / "huge").write_bytes(b"\0" * (1 << 17))

    assert "names no policy" in complaint(tmp_path, "replay", "nx.txt")
    for target in ("0" * 20, "", "."):
        assert "no finding whose id starts with" in complaint(tmp_path, "replay", target)
    (tmp_path / "huge.bin").write_bytes(b"\0" * (1 << 17))
    (tmp_path / "latin.txt").write_bytes(NX.encode() + b"# \xf6\n")
    assert "is no scenario" in complaint(tmp_path, "replay", "huge.bin", "--policy", "v1")
    assert "not UTF-8" in complaint(tmp_path, "replay", "latin.txt", "--policy", "v1")
    assert "does not exist" in complaint(tmp_path, "replay", finding, "--db", "no.db")
    assert "is not a SQLite database" in complaint(tmp_path, "replay", finding, "--db", "huge")


def test_policy_that_raises(tmp_path: Path) -> None:
    """A user's rule that raises in a replay is one sentence with file and line."""
    (tmp_path / "nx.txt").write_text(NX)
    (tmp_path / "mine.py").write_text("def needs_flush(old, new):\n    raise ValueError(old)\n")

    line = complaint(tmp_path, "replay", "nx.txt", "--policy", "mine.py")

    assert "mine.py, line 2: ValueError" in line


@pytest.mark.parametrize(("base", "code"), [("linux", 1), ("v1", 0)])
def test_against_a_base(tmp_path: Path, base: str, code: int) -> None:
    """A run fails for what the base does not show; the last line runs both again."""
    story = CORPUS / "bad_c2_v1_nx_promotion.txt"
    arguments = ("replay", story, "--policy", "v1", "--against", base)
    ended = inside(tmp_path, *arguments)
    told = document(tmp_path, *arguments, code=code)

    assert ended.code == code
    assert f"Against {base}, which is" in ended.out
    assert inside(tmp_path, *shlex.split(ended.out.splitlines()[-1])[1:]).out == ended.out
    (run,) = told["runs"]
    assert run["base"]["policy"] == base
    assert (run["base"]["reason"] == run["reason"]) == (base == "v1")


def test_a_base_of_the_same_name(tmp_path: Path) -> None:
    """A base that has the name of the policy is called what the user has typed for it."""
    (tmp_path / "before").mkdir()
    for folder, answer in ((".", False), ("before", True)):
        (tmp_path / folder / "mine.py").write_text(
            f"def needs_flush(old, new):\n    return {answer}\n"
        )
    (tmp_path / "nx.txt").write_text(NX)
    words = ("replay", "nx.txt", "--policy", "mine.py", "--against", "before/mine.py")

    assert "Against before/mine.py, which is legal" in inside(tmp_path, *words).out


def test_an_unknown_base(tmp_path: Path) -> None:
    """A base that is no policy is a sentence."""
    assert complaint(tmp_path, "replay", CORPUS / "good_mprotect_aba.txt", "--against", "nobody")
