"""The models compared with the Linux that runs here, and whether a difference is noticed."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from shootdown.conform.live.campaign import Campaign
from shootdown.conform.live.commands import (
    HAS_EXEC,
    HAS_FILE,
    HAS_PAGEMAP,
    HAS_UFFD,
    HAS_UFFD_SHMEM,
    Command,
    Result,
)
from shootdown.conform.live.compare import compare
from shootdown.conform.live.driver import Driver
from shootdown.conform.live.host import Host, file_folder, host
from shootdown.conform.live.known import ZERO_PAGE, known_on
from shootdown.conform.live.left_out import NEVER, driven_on, is_driven, makes_executable
from shootdown.conform.live.program import program_of
from shootdown.conform.live.sequences import DRIVEN, random_sequence
from shootdown.conform.outcome import Found
from shootdown.optimized.policies import REGISTRY
from shootdown.scenario import Scenario, kinds, parse

LINUX = REGISTRY["linux"]
ALL = HAS_PAGEMAP | HAS_UFFD | HAS_UFFD_SHMEM | HAS_FILE | HAS_EXEC
SEQUENCES = 300
OLD = Host("6.12.1", "", 2, {}, "madvise")
MODERN = Host("6.18.0-rc1", "", 2, {}, "madvise")


def campaign(driver: Driver, policy: str = "linux", driven: Sequence[int] = ()) -> Campaign:
    """Return a campaign of random sequences of everything that can be driven on this host."""
    allowed, _ = driven_on(host(), driver.cpus, driver.features, driver.uffd_error)
    return Campaign(
        driver,
        REGISTRY[policy].make(),
        driven=tuple(driven) or allowed,
        known=known_on(host()),
        seed=1,
    )


def found_by(one: Campaign, sequences: int = SEQUENCES) -> list[Found]:
    """Return what this many sequences find."""
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
    """A driver that reports a wrong value for one load in `often`."""

    def __init__(self, driver: Driver, often: int) -> None:
        self.driver = driver
        self.cpus = driver.cpus
        self.features = driver.features
        self.often = often
        self.loads = 0

    def run(self, commands: Sequence[Command], *, large: bool) -> list[Result]:
        """Return the results; now and then one is wrong."""
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
    """A load that is reported wrong once is a disagreement that does not come again."""
    one = campaign(driver)
    one.driver = Liar(driver, 1000)
    (found,) = found_by(one)

    assert found.what == "value"
    assert not found.again


def test_a_wrong_answer_that_comes_again_is_minimized(driver: Driver) -> None:
    """If every load is reported wrong, one load is left."""
    one = campaign(driver)
    one.driver = Liar(driver, 1)
    (found,) = found_by(one)

    assert found.again
    assert len(found.scenario.records) == 1


def test_a_zero_page_that_fork_has_left_out(driver: Driver) -> None:
    """Linux finds nothing to write-protect where the models have copied a zero page; the comparison ends there."""
    scenario = parse(
        "shootdown-scenario 1\ncpus 1\npages 1\nlayout private\n\ncpu0 read p0\ncpu0 fork\ncpu0 switch mm1\n"
        "cpu0 uffd_register p0\ncpu0 uffd_wp p0\ncpu0 write p0\n"
    ).scenario
    one = campaign(driver)
    if not is_driven(scenario, one.driven, driver.features, driver.cpus):
        pytest.skip("userfaultfd cannot be driven here")
    shown = compare(driver, program_of(scenario, LINUX.make()))

    assert shown.disagreement is None
    assert ZERO_PAGE in shown.explained
    assert shown.commands < len(program_of(scenario, LINUX.make()).steps)


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
        (ALL & ~HAS_EXEC, {kinds.EXEC}, "executable"),
    ],
)
def test_what_a_host_lacks_is_left_out_and_said(
    features: int, left_out: set[int], word: str
) -> None:
    """A kind of operation that needs something missing is not driven, and one line says why."""
    driven, lines = driven_on(MODERN, 2, features, 1)

    assert not left_out & {*driven}
    assert [word in line for line in lines] == [True]
    assert driven_on(MODERN, 2, ALL, 0) == (DRIVEN, [])


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
    old = program_of(scenario, LINUX.make(), known_on(OLD))
    new = program_of(scenario, LINUX.make(), known_on(MODERN))

    assert (old.cut, new.cut) == ("mremap-one-region", "")
    assert [planned.record for planned in old.steps] == [-1, -1, 0]
    assert [planned.record for planned in new.steps] == [-1, -1, 0, 1, 2]


def test_protection_keys_are_a_known_difference() -> None:
    """On processors that have them, a region that allows only fetches denies loads."""
    has = MODERN._replace(flags=("ospke",))
    scenario = parse(
        "shootdown-scenario 1\ncpus 1\npages 1\nlayout private\n\ncpu0 mprotect p0 x\ncpu0 read p0\n"
    ).scenario

    assert program_of(scenario, LINUX.make(), known_on(has)).cut == "execute-only-key"
    assert program_of(scenario, LINUX.make(), known_on(MODERN)).cut == ""


def test_the_file_is_on_a_disk(tmp_path: Path) -> None:
    """A folder in memory is skipped."""
    assert file_folder(["/dev/shm", str(tmp_path)]) == file_folder([str(tmp_path)])  # noqa: S108 - it is only asked
    assert file_folder(["/no-such-folder"]) == ""


def test_sequences_are_of_what_is_driven() -> None:
    """A kind that is left out does not come, and the seed determines the sequence."""
    driven = tuple(kind for kind in DRIVEN if kind not in (kinds.FORK, kinds.WRITEBACK, kinds.EXEC))
    made = [random_sequence(Random(seed), 2, driven, 24) for seed in range(200)]

    assert {record[0] for scenario in made for record in scenario.records} == {*driven}
    assert kinds.FILE not in {scenario.header.layout for scenario in made}
    assert not any(makes_executable(record) for scenario in made for record in scenario.records)
    assert made == [random_sequence(Random(seed), 2, driven, 24) for seed in range(200)]


def test_scenarios_are_driven_on_the_cpus_that_there_are(driver: Driver) -> None:
    """A result of the minimizer that cannot be driven counts as no disagreement."""
    one = campaign(driver)
    scenario = Scenario(
        parse(
            "shootdown-scenario 1\ncpus 8\npages 1\nlayout private\n\ncpu7 read p0\n"
        ).scenario.header,
        ((kinds.READ, 7, 0, 0, 1, 0),),
    )

    assert is_driven(scenario, one.driven, driver.features, driver.cpus) == (driver.cpus >= 8)
