"""Campaigns with several processes: what is kept when one of them is killed, hung or interrupted."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shootdown.evidence.investigate import Found
from shootdown.fuzz.base import Decision, Tally
from shootdown.fuzz.campaign.job import Job, parse_job, read_corpus, write_corpus
from shootdown.fuzz.campaign.messages import (
    Broken,
    Bye,
    Hello,
    Interesting,
    Message,
    Progress,
    decode_message,
    encode_message,
)
from shootdown.fuzz.campaign.plan import Sighted
from shootdown.fuzz.campaign.progress import PlainView
from shootdown.fuzz.campaign.seeds import UnknownSeed, seed_corpus
from shootdown.fuzz.campaign.triage import Triage
from shootdown.fuzz.engines.registry import ENGINES
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import corpus, decode, encode, parse
from shootdown.store import (
    StoreError,
    find_campaign,
    find_finding,
    list_campaigns,
    list_findings,
    list_sightings,
    load_corpus,
    open_store,
    run_view,
)
from shootdown.system.pace import duration
from tests.command import NX, SHOOTDOWN, complaint, document, shootdown, wait_until
from tests.store_samples import EVIDENCE, MINIMUM

DB = "findings.db"
LONG = ("fuzz", "--policy", "v1", "--engine", "loop", "--for", "50s", "--db", DB, "--name", "long")
ONE = ("--engine", "loop", "--workers", "1")
TOGGLED = Decision(huge=True, changes="RW-set", flushes=False, old=1, new=3, times=7)


class Running:
    """A campaign that was started in a folder; what it prints is read line by line."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [SHOOTDOWN, *LONG, *options],
            cwd=folder,
            env=os.environ | {"TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self, start: str) -> str:
        """Wait for a line that starts like that."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        raise AssertionError(f"the campaign ended without a line {start!r}")

    def workers(self) -> list[int]:
        """Return the process ids of the first workers; none while there is no whole database yet."""
        try:
            with open_store(self.folder / DB, create=False, readonly=True) as store:
                rows = run_view(store, "workers").rows
        except StoreError:
            return []
        return [int(str(row[4]).removeprefix("pid ")) for row in rows if row[3] == "started"]

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal, and return the exit code and the rest of the output."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        return self.process.wait(), out


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Running]:
    """Yield a campaign that does not outlive the block."""
    campaign = Running(folder, *options)
    try:
        yield campaign
    finally:
        with campaign.process as process:
            process.kill()


def is_gone(pid: int) -> bool:
    """Return whether there is no such process any more, or only its exit status is left."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def announced(line: str) -> str:
    """Return the id in the line that announces a finding."""
    return line.split()[1]


def test_killed_parent_has_lost_nothing(tmp_path: Path) -> None:
    """After `kill -9` of the parent, every announced finding is in the database, and its workers end by themselves."""
    with running(tmp_path, "--workers", "2") as campaign:
        key = announced(campaign.line("finding "))
        workers = campaign.workers()
        code, _ = campaign.end(signal.SIGKILL)

        assert code == -signal.SIGKILL
        wait_until(lambda: all(map(is_gone, workers)))
    with open_store(tmp_path / DB, create=False) as store:
        assert find_finding(store, key).minimum.policy == "v1"
        assert find_campaign(store, "long").status == "running"
    assert shootdown(tmp_path, "replay", key).code == 1


def test_killed_parent_leaves_nothing_behind(tmp_path: Path) -> None:
    """After `kill -9` of the parent its workers remove its temporary folder; the next command ends its row and lock."""
    with running(tmp_path, "--workers", "2") as campaign:
        campaign.line("finding ")
        workers = campaign.workers()
        campaign.end(signal.SIGKILL)
        wait_until(lambda: all(map(is_gone, workers)))
    assert list(tmp_path.glob("shootdown-*")) == []

    assert "campaign long any more" in shootdown(tmp_path, "findings", "list").err

    assert list(tmp_path.glob(f"{DB}-running-*")) == []
    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        assert find_campaign(store, "long").status == "interrupted"


def test_hung_worker_ends_with_its_parent(tmp_path: Path) -> None:
    """A worker whose policy never returns ends when the parent is killed."""
    (tmp_path / "mine.py").write_text(
        "import sys\n\ndef needs_flush(old, new):\n"
        "    while sys.argv[0].endswith('worker.py'):\n"
        "        pass\n    return True\n"
    )
    with running(tmp_path, "--workers", "1", "--policy", "mine.py") as campaign:
        wait_until(lambda: bool(campaign.workers()))
        (worker,) = campaign.workers()
        time.sleep(1)
        assert not is_gone(worker)
        campaign.end(signal.SIGKILL)

        wait_until(lambda: is_gone(worker))
    assert list(tmp_path.glob("shootdown-*")) == []


def test_name_that_is_taken(tmp_path: Path) -> None:
    """A second campaign cannot take a name, except to go on with the first; names that were not given differ."""
    document(tmp_path, *options("--execs", "5"))
    for _ in range(2):
        document(tmp_path, "fuzz", "--policy", "linux", *ONE, "--execs", "1")
    line = complaint(tmp_path, *options("--execs", "5"))

    assert line.endswith("give another name, or go on with it: --resume again.")
    again = ("fuzz", "--resume", "again", *ONE, "--execs", "5")
    assert document(tmp_path, *again)["name"] == "again"
    assert document(tmp_path, *again, "--name", "more")["name"] == "more"
    assert "has a campaign named more already" in complaint(tmp_path, *again, "--name", "more")
    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        names = [stored.campaign.name for stored in list_campaigns(store)]
    assert (len(names), len(set(names))) == (5, 4)


def test_killed_worker_is_replaced(tmp_path: Path) -> None:
    """A worker that is killed is replaced and reported, and the campaign goes on."""
    with running(tmp_path, "--workers", "2") as campaign:
        campaign.line("finding ")
        os.kill(campaign.workers()[0], signal.SIGKILL)
        assert "killed by SIGKILL" in campaign.line("Worker 0 died")
        campaign.line("Worker 0 replaced")
        code, out = campaign.end(signal.SIGINT)

    assert code == 1
    assert "1 worker replaced" in out
    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        events = [row[3] for row in run_view(store, "workers").rows if row[2] == 0]
    assert events == ["started", "died", "replaced"]


def test_hung_worker_is_replaced(tmp_path: Path) -> None:
    """A worker that is silent for too long is killed, replaced and reported."""
    with running(tmp_path, "--workers", "1", "--hang-after", "5s") as campaign:
        campaign.line("finding ")
        (worker,) = campaign.workers()
        os.kill(worker, signal.SIGSTOP)
        campaign.line("Worker 0 hung: silent for")
        campaign.line("Worker 0 replaced")
        assert is_gone(worker)
        code, _ = campaign.end(signal.SIGTERM)

    assert code == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_campaign_keeps_everything(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end a campaign cleanly: totals, corpus and findings are stored, and no worker is left."""
    with running(tmp_path, "--workers", "2") as campaign:
        key = announced(campaign.line("finding "))
        workers = campaign.workers()
        code, out = campaign.end(number)

        assert code == 1
        assert key in out
        assert all(map(is_gone, workers))
    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        stored = find_campaign(store, "long")
        assert (stored.status, stored.findings > 0) == ("interrupted", True)
        assert len(load_corpus(store, stored.id)) == stored.totals.corpus_size > 0


def test_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    """A second Ctrl-C ends the campaign at once, although a worker does not react."""
    with running(tmp_path, "--workers", "1") as campaign:
        campaign.line("finding ")
        (worker,) = campaign.workers()
        os.kill(worker, signal.SIGSTOP)
        campaign.process.send_signal(signal.SIGINT)
        campaign.line("Stopping")
        code, out = campaign.end(signal.SIGINT)

        assert code == 1
        assert "hung" not in out, "it waited until the worker was late"
        assert is_gone(worker)


def test_resume_goes_on_with_the_stored_corpus(tmp_path: Path) -> None:
    """A resumed campaign starts with the policy and the corpus of the first, and passes all of the corpus on."""
    first = document(tmp_path, *options("--execs", "400"), code=1)
    second = document(tmp_path, "fuzz", "--resume", "again", *ONE, "--execs", "700", code=1)

    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        before = load_corpus(store, first["campaign"])
        after = load_corpus(store, second["campaign"])
    assert (second["policy"], second["name"]) == ("v1", "again")
    assert set(before) <= set(after)
    assert second["totals"]["features"] >= first["totals"]["features"]


def test_two_campaigns_find_the_same_row(tmp_path: Path) -> None:
    """The same bug is one row, whichever campaign saw it, with one sighting for each; merging keeps it one."""
    document(tmp_path, *options("--until-finding"), code=1)
    more = ("--name", "more", "--seed", "8")
    again = document(tmp_path, *options("--until-finding"), *more, code=1)
    document(tmp_path, *options("--until-finding"), "--db", "other.db", code=1)
    document(tmp_path, "findings", "merge", "other.db")

    assert [finding["new"] for finding in again["findings"]] == [False]
    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        (finding,) = list_findings(store)
        assert len(list_sightings(store, finding.key)) == 3


def options(*more: str) -> tuple[str, ...]:
    """Return a short campaign against v1."""
    return ("fuzz", "--policy", "v1", *ONE, "--name", "again", "--seed", "7", *more)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_stops_at_its_limit(tmp_path: Path, engine: str) -> None:
    """Every engine runs as many executions as asked for, over all workers, and ends."""
    summary = document(
        tmp_path,
        "fuzz",
        "--policy",
        "linux",
        "--engine",
        engine,
        "--execs",
        "130",
        "--workers",
        "2",
    )

    assert (summary["status"], summary["totals"]["executions"]) == ("finished", 130)


def test_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign ends when its time is over: here an hour that passes as soon as something has been found."""
    clock, announce = time.monotonic, PlainView.finding
    passed = 0

    def finding(view: PlainView, sighted: Sighted) -> None:
        nonlocal passed
        passed = 3600
        announce(view, sighted)

    monkeypatch.setattr(PlainView, "finding", finding)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + passed)
    summary = document(tmp_path, *options("--for", "1h", "--hang-after", "2h"), code=1)

    assert (summary["status"], summary["worker_events"]) == ("finished", [])
    assert summary["totals"]["seconds"] >= 3600


# The parts.


@pytest.mark.parametrize(
    "message",
    [
        Hello(7),
        Progress(
            executions=5,
            features=[1, 2],
            costs=[1, 2, 3],
            reference_costs=[4, 5, 6],
            again={"ab": 2},
            tally=Tally(1, [1] * 4, [2] * 4, 3, 4, 5, [TOGGLED]),
        ),
        Interesting(b"\x00\xff"),
        Found(MINIMUM, EVIDENCE, b"\x01", 9, 120, complete=True),
        Broken("harness", "It broke.", "text", "trace"),
        Bye(),
    ],
)
def test_messages_survive_the_pipe(message: Message) -> None:
    """A message is one line, and decodes to an equal message."""
    line = encode_message(message)

    assert line.count(b"\n") == 1
    assert decode_message(line) == message


@pytest.mark.parametrize("line", [b"", b"{}", b'["Nothing", {}]', b'["Hello", {"x": 1}]', b"\xff"])
def test_what_is_no_message(line: bytes) -> None:
    """Every other line is a ValueError."""
    with pytest.raises(ValueError, match=r".*"):
        decode_message(line)


def test_job_survives_the_pipe(tmp_path: Path) -> None:
    """A job is one line, and its corpus file holds the inputs in their order."""
    job = Job("v1", "loop", 7, 32, 100, str(tmp_path / "corpus"))
    write_corpus(tmp_path / "corpus", [b"\x01\x02", b""])

    assert parse_job(job.line()) == job
    assert read_corpus(job.corpus) == [b"\x01\x02", b""]


def test_first_of_each_doubling_is_minimized() -> None:
    """Of 9 failures of one kind the 1st, 2nd, 4th and 8th are minimized; one finding is sent, and 8 are counted."""
    sent: list[Message] = []
    policy = REGISTRY["v1"]
    triage = Triage(policy, sent.append, lambda: None)
    scenario = parse(NX).scenario

    for _ in range(9):
        triage.failure(encode(scenario), execute(scenario, policy.make()))

    (found,) = sent
    assert isinstance(found, Found)
    assert found.minimum.text == NX
    assert dict(triage.again) == {found.minimum.key: 8}


def test_seeds_are_the_corpus() -> None:
    """The seeds are the corpus in its binary form; a name leaves one out, with or without its suffix."""
    names = list(corpus.load())

    assert len(seed_corpus()) == len(names)
    assert len(seed_corpus([names[0], f"{names[1]}.txt"])) == len(names) - 2
    with pytest.raises(UnknownSeed, match="Did you mean"):
        seed_corpus([names[0][:-1]])


def test_seeds_run_on_real_hardware() -> None:
    """No seed has the switch that exists on no CPU, so a sound policy shows nothing on any of them."""
    outcomes = [execute(decode(data), REGISTRY["linux"].make()) for data in seed_corpus()]

    assert {outcome.reason for outcome in outcomes} == {""}


@pytest.mark.parametrize(("seconds", "text"), [(5.9, "0:05"), (75, "1:15"), (3725, "1:02:05")])
def test_durations(seconds: float, text: str) -> None:
    """A time is shown in minutes and seconds, from an hour on with hours."""
    assert duration(seconds) == text
