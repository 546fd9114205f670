"""The models beside the Linux that runs here, and what notices that the two do not agree."""

import os
import platform
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from fuzz.conform.live import races
from fuzz.conform.live.build import compile_driver
from fuzz.conform.live.campaign import Campaign
from fuzz.conform.live.commands import (
    HAS_COUNTERS,
    HAS_FILE,
    HAS_PAGEMAP,
    HAS_UFFD,
    HAS_UFFD_SHMEM,
    Command,
    Result,
)
from fuzz.conform.live.driver import Driver, DriverFailed
from fuzz.conform.live.flushes import can_count, cases, compared
from fuzz.conform.live.host import Host, host
from fuzz.conform.live.known import known_on
from fuzz.conform.live.left_out import NEVER, driven_on
from fuzz.conform.live.program import program_of
from fuzz.conform.live.sequences import DRIVEN, random_sequence
from fuzz.conform.outcome import Found
from fuzz.conform.unusable import Unusable
from fuzz.scenario import Scenario, kinds, parse
from optimized.policies import REGISTRY
from tests.command import SHOOTDOWN, complaint, inside

LINUX = REGISTRY["linux"]
ALL = HAS_PAGEMAP | HAS_UFFD | HAS_UFFD_SHMEM | HAS_FILE
SEQUENCES = 300

if platform.system() != "Linux" or platform.machine() != "x86_64":
    pytest.skip("the driver is for Linux on x86-64", allow_module_level=True)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver, compiled."""
    return compile_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def driver(program: Path, tmp_path: Path) -> Iterator[Driver]:
    """A running driver."""
    file, tracefs = tmp_path / "file", tmp_path / "tracefs"
    file.touch()
    tracefs.mkdir()
    with Driver(program, file, tracefs) as started:
        yield started


def campaign(driver: Driver, policy: str = "linux", driven: Sequence[int] = ()) -> Campaign:
    """Random sequences of all that this host lets be driven."""
    allowed, _ = driven_on(host(), driver.cpus, driver.features, driver.uffd_error)
    return Campaign(
        driver,
        REGISTRY[policy].make(),
        driven=tuple(driven) or allowed,
        known=known_on(host().version),
        seed=1,
    )


def found_by(one: Campaign, sequences: int = SEQUENCES) -> list[Found]:
    """What so many sequences find."""
    found: list[Found] = []
    one.run(
        seconds=250.0,
        sequences=sequences,
        stop=lambda: bool(found),
        tell=lambda: None,
        store=found.append,
    )
    return found


class Liar:
    """A driver that tells something else of one load in `often`."""

    def __init__(self, driver: Driver, often: int) -> None:
        self.driver = driver
        self.cpus = driver.cpus
        self.features = driver.features
        self.often = often
        self.loads = 0

    def run(self, commands: Sequence[Command], *, large: bool) -> list[Result]:
        """Return the results, now and then one that is wrong."""
        results = self.driver.run(commands, large=large)
        for i, command in enumerate(commands):
            if command.operation == "READ" and results[i].status == "DONE":
                self.loads += 1
                if not self.loads % self.often:
                    results[i] = results[i]._replace(value=results[i].value + 1)
        return results


def test_random_sequences_agree(driver: Driver) -> None:
    """What the kernel shows of random sequences is what the models show, access for access."""
    one = campaign(driver)

    assert found_by(one) == []
    assert one.figures.sequences == SEQUENCES
    assert one.figures.accesses > 20 * SEQUENCES


def test_another_fault_handler_is_noticed(driver: Driver) -> None:
    """The handler that no released kernel has does not map a page for a fetch that its region denies; Linux does."""
    (found,) = found_by(campaign(driver, "minimal-exec-check"))

    assert found.again
    assert [kinds.KINDS[record[0]].name for record in found.scenario.records][-1:] == ["exec"]


def test_a_wrong_answer_is_noticed(driver: Driver) -> None:
    """A load that is told wrong once is a disagreement that does not come again."""
    one = campaign(driver)
    one.driver = Liar(driver, 1000)  # type: ignore[assignment]
    (found,) = found_by(one)

    assert found.what == "value"
    assert not found.again


def test_a_wrong_answer_that_comes_again_is_minimized(driver: Driver) -> None:
    """Where every load is told wrong, one load is left."""
    one = campaign(driver)
    one.driver = Liar(driver, 1)  # type: ignore[assignment]
    (found,) = found_by(one)

    assert found.again
    assert len(found.scenario.records) == 1


def test_every_kind_is_driven_or_has_a_reason() -> None:
    """No kind of record is both, and none is neither."""
    assert NEVER.keys() | {kinds.KINDS[kind].name for kind in DRIVEN} == {
        kind.name for kind in kinds.KINDS
    }
    assert not NEVER.keys() & {kinds.KINDS[kind].name for kind in DRIVEN}


@pytest.mark.parametrize(
    ("features", "left_out", "word"),
    [
        (ALL & ~HAS_UFFD & ~HAS_UFFD_SHMEM, {kinds.UFFD_WP, kinds.UFFD_REGISTER}, "userfaultfd"),
        (ALL & ~HAS_UFFD_SHMEM, {kinds.UFFD_WP}, "5.19"),
        (ALL & ~HAS_FILE, {kinds.PUNCH, kinds.WRITEBACK}, "file"),
        (ALL & ~HAS_PAGEMAP, set(), "pagemap"),
    ],
)
def test_what_a_host_lacks_is_left_out_and_said(
    features: int, left_out: set[int], word: str
) -> None:
    """A kind of operation that needs it is not driven, and one line says why."""
    modern = Host("6.18.0", "", 2, {}, "madvise")
    driven, lines = driven_on(modern, 2, features, 1)

    assert not left_out & {*driven}
    assert [word in line for line in lines] == [True]
    assert driven_on(modern, 2, ALL, 0) == (DRIVEN, [])


def test_an_old_kernel_and_a_single_cpu_are_said() -> None:
    """MADV_COLLAPSE came with 6.1."""
    driven, lines = driven_on(Host("5.15.0", "", 1, {}, "never"), 1, ALL, 0)

    assert kinds.COLLAPSE not in driven
    assert len(lines) == 3


def test_a_program_ends_where_the_kernel_is_known_to_differ() -> None:
    """Mremap of two regions moved nothing before 6.17."""
    scenario = parse(
        "shootdown-scenario 1\ncpus 1\npages 8\nlayout private\n\n"
        "cpu0 mprotect p0 r\ncpu0 mremap p0-p1 to p4\ncpu0 read p4\n"
    ).scenario
    old = program_of(scenario, LINUX.make(), known_on((6, 12)))
    new = program_of(scenario, LINUX.make(), known_on((6, 18)))

    assert (old.cut, new.cut) == ("mremap-one-region", "")
    assert [planned.record for planned in old.steps] == [-1, -1, 0]
    assert [planned.record for planned in new.steps] == [-1, -1, 0, 1, 2]


def test_sequences_are_of_what_is_driven() -> None:
    """A kind that is left out does not come, and the seed determines the sequence."""
    driven = tuple(kind for kind in DRIVEN if kind not in (kinds.FORK, kinds.WRITEBACK))
    made = [random_sequence(Random(seed), 2, driven, 24) for seed in range(200)]

    assert {record[0] for scenario in made for record in scenario.records} == {*driven}
    assert kinds.FILE not in {scenario.header.layout for scenario in made}
    assert made == [random_sequence(Random(seed), 2, driven, 24) for seed in range(200)]


# Races.

NAMES = [race.name for race in races.races()]


def race_named(name: str) -> races.Race:
    """The race."""
    return next(race for race in races.races() if race.name == name)


def test_races_have_names_of_their_own() -> None:
    """No race is there twice."""
    assert len(set(NAMES)) == len(NAMES) >= 29


def needs_two_cpus(driver: Driver) -> None:
    """Skip where one thread cannot run beside another."""
    if driver.cpus < 2:
        pytest.skip("a race needs two CPUs, and this process may use one")


@pytest.mark.parametrize("name", NAMES[::5])
def test_what_an_operation_denies_is_used_no_more(driver: Driver, name: str) -> None:
    """After the return there is nothing that the models do not show there, and meanwhile neither."""
    needs_two_cpus(driver)
    race = race_named(name)
    driven, _ = driven_on(host(), driver.cpus, driver.features, driver.uffd_error)
    if not races.can_race(race, driven, driver.features):
        pytest.skip("this host does not let the operation be driven")
    raced = races.run_race(driver, race, 20, LINUX.make(), races.allowed(race, LINUX.make()))

    assert raced.rounds == 20
    assert raced.shown[races.AFTER]
    assert raced.forbidden is None


class Idle:
    """A driver that does nothing where an operation races with an access: what was mapped stays so."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def run(self, commands: Sequence[Command], *, large: bool) -> list[Result]:
        """Return the results of a program without the operation."""
        idle = [c._replace(operation="NOTHING") if c.races else c for c in commands]
        return self.driver.run(idle, large=large)


@pytest.mark.parametrize(
    "name",
    [
        "mprotect p0 r / write p0 (private)",
        "munmap p0 / read p0 (private)",
        "dontneed p0 / read p0 (private)",
        "uffd_wp p0 / write p0 (private)",
        "punch p0 / read p0 (file)",
    ],
)
def test_a_stale_mapping_is_noticed(driver: Driver, name: str) -> None:
    """An access that the mapping of before still serves after the return is forbidden."""
    needs_two_cpus(driver)
    race = race_named(name)
    raced = races.run_race(
        Idle(driver),  # type: ignore[arg-type]
        race,
        2,
        LINUX.make(),
        races.allowed(race, LINUX.make()),
    )

    assert raced.forbidden is not None
    assert raced.forbidden.phase == races.AFTER


# Flush requests.


def test_flush_requests_are_equal_or_explained(driver: Driver) -> None:
    """In each case the kernel asks for as many flushes as the policy linux, or it is known why not."""
    if not driver.features & HAS_COUNTERS or driver.cpus < 2:
        pytest.skip("the tracepoint tlb:tlb_flush cannot be counted here")
    driven, _ = driven_on(host(), driver.cpus, driver.features, driver.uffd_error)
    counted = [case for case in cases() if can_count(case, driven, driver.features)]
    sides = [compared(driver, case, LINUX.make()) for case in counted]

    assert [one.case.name for one in sides if one.model != one.kernel and not one.why] == []
    assert sum(one.model == one.kernel for one in sides) > len(sides) // 2


# The driver's own ends.


def test_a_driver_that_is_killed(driver: Driver) -> None:
    """The next program says so."""
    os.killpg(driver.pid, signal.SIGKILL)

    with pytest.raises(DriverFailed, match="signal 9"):
        driver.run([Command("RESET", 0, 0)], large=False)


def test_a_driver_that_hangs(program: Path, tmp_path: Path) -> None:
    """It is given up after a while, and nothing of it is left."""
    with Driver(program, patience=0.5) as driver:
        os.kill(driver.pid, signal.SIGSTOP)
        with pytest.raises(DriverFailed, match="said nothing"):
            driver.run([Command("RESET", 0, 0)], large=False)
    del tmp_path

    assert_gone(driver.pid)


def test_nothing_is_left_when_its_user_is_killed(program: Path, tmp_path: Path) -> None:
    """A driver whose standard input ends, ends with all its processes."""
    file = tmp_path / "file"
    file.touch()
    process = subprocess.Popen(
        [program, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.read(16)
    process.stdin.close()
    process.wait(30)
    process.stdout.close()

    assert_gone(process.pid)


def assert_gone(session: int) -> None:
    """No process of the session is left; who was killed may take a moment."""
    for _ in range(100):
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a process of the driver is left")


@pytest.mark.parametrize(
    ("compiler", "says"),
    [("no-such-compiler", "cannot be used"), ("false", "does not compile the driver")],
)
def test_no_compiler(
    compiler: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence says what is missing."""
    monkeypatch.setenv("CC", compiler)

    with pytest.raises(Unusable, match=says):
        compile_driver(tmp_path)
    assert says in complaint(tmp_path, "conform", "--live")


def test_the_command(tmp_path: Path) -> None:
    """It says what it compared, stores it, and ends with 0 where all agrees."""
    limits = ("--for", "20s", "--sequences", "20", "--rounds", "2")
    ended = inside(tmp_path, "conform", "--live", *limits)

    assert ended.code == 0, ended
    assert "No disagreement that is not explained." in ended.out
    assert all(len(line) <= 120 for line in ended.out.splitlines())
    assert "live" in inside(tmp_path, "findings", "query", "comparisons").out


def test_a_disagreement_is_stored_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a wrong handler shows is minimized, printed and in the database."""
    monkeypatch.setattr("fuzz.cli.conform.POLICY", "minimal-exec-check")
    ended = inside(
        tmp_path, "conform", "--live", "--part", "sequences", "--sequences", "100", "--seed", "1"
    )

    assert ended.code == 1, ended
    assert "exec p0" in ended.out
    assert "exec p0" in inside(tmp_path, "findings", "query", "disagreements").out


def test_the_machine_has_to_be_named(tmp_path: Path) -> None:
    """Without --live there is nothing to compare with."""
    assert "--live" in complaint(tmp_path, "conform")


def test_one_cpu(tmp_path: Path) -> None:
    """The sequences run on one CPU, and the rest is said to be left out."""
    cpu = min(os.sched_getaffinity(0))
    done = subprocess.run(
        ["taskset", "-c", str(cpu), SHOOTDOWN, "conform", "--live", "--sequences", "5"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert done.returncode == 0, done
    assert "a second CPU" in done.stdout


def test_ctrl_c_ends_it_with_what_it_has(tmp_path: Path) -> None:
    """An interrupted comparison says what was compared, and leaves no folder behind."""
    with subprocess.Popen(
        [SHOOTDOWN, "conform", "--live", "--part", "sequences", "--for", "100s"],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "Linux" in process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()

    assert process.returncode == 0
    assert "No disagreement" in out
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_scenarios_are_driven_on_the_cpus_that_there_are(driver: Driver) -> None:
    """What the minimizer makes of a scenario need not be drivable; then it does not disagree."""
    one = campaign(driver)
    scenario = Scenario(
        parse(
            "shootdown-scenario 1\ncpus 8\npages 1\nlayout private\n\ncpu7 read p0\n"
        ).scenario.header,
        ((kinds.READ, 7, 0, 0, 1, 0),),
    )

    assert one.is_driven(scenario) == (driver.cpus >= 8)
