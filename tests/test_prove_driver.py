"""A proof from beginning to end: workers, limits, checkpoints."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from fuzz.prove import checkpoint
from fuzz.prove.checkpoint import CheckpointError
from fuzz.prove.driver import Prover, Result, State
from fuzz.prove.scope import Scope, UnknownOperation, scope_of
from fuzz.scenario import Header
from optimized.policies import REGISTRY

SCOPE = scope_of(Header(2, 1), 3, ["read", "mprotect"])
IDENTITY = {"policy": "linux", "ops": 3}


def prove(scope: Scope = SCOPE, policy: str = "linux", *, workers: int = 1) -> Result:
    """Prove a policy without a limit."""
    return Prover(scope, REGISTRY[policy].make(), workers=workers).run()


def test_workers_share_the_worlds() -> None:
    """Two workers come to the verdict of one, over the same worlds."""
    one, two = prove(), prove(workers=2)

    assert (one.verdict, two.verdict) == ("legal", "legal")
    assert one.state.level == two.state.level == 3
    # A race for a slot of the table may explore a world twice, never leave one out.
    assert one.state.worlds <= two.state.worlds <= one.state.worlds * 1.01


def test_nothing_to_explore_is_legal() -> None:
    """A scope in which everything has been seen after two operations ends by itself."""
    result = prove(scope_of(Header(1, 1), 60, ["lazy"]))

    assert (result.verdict, result.state.level) == ("legal", 60)


def test_a_counterexample_ends_the_proof() -> None:
    """The levels before it are complete."""
    result = prove(scope_of(Header(2, 1), 3, ["read", "write", "mprotect"]), "skip-write-protect")

    assert (result.verdict, result.reason, result.state.level) == (
        "illegal",
        "stale-entry-at-rest",
        1,
    )


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A checkpoint of a proof that stopped in the middle."""
    path = tmp_path / "proof"

    def save(state: State, keys: Iterable[int]) -> None:
        checkpoint.save(path, IDENTITY, state, keys)

    # The first round of the second operation is over when the time is up.
    result = Prover(SCOPE, REGISTRY["linux"].make(), seconds=0.0, save=save).run()
    assert (result.verdict, result.why) == ("undecided", "the time limit was reached")
    return path


def test_a_checkpoint_goes_on(stored: Path) -> None:
    """The rest of an interrupted proof explores what the whole one would have, and no more."""
    state, keys = checkpoint.load(stored, IDENTITY)
    begun = state.worlds
    result = Prover(SCOPE, REGISTRY["linux"].make()).run(state, keys)

    whole = prove().state
    assert 0 < begun < whole.worlds
    assert (result.verdict, result.state.worlds) == ("legal", whole.worlds)
    assert result.state.transitions == whole.transitions


def test_a_memory_limit_leaves_it_undecided() -> None:
    """Worlds and paths together may not need more."""
    result = Prover(SCOPE, REGISTRY["linux"].make(), memory=1 << 20).run()

    assert (result.verdict, result.why) == ("undecided", "the memory limit of 1 MiB was reached")


def test_a_checkpoint_of_another_proof(stored: Path) -> None:
    """One sentence names what is different."""
    with pytest.raises(CheckpointError, match=r"^The checkpoint .* its ops is 3, here it is 4\.$"):
        checkpoint.load(stored, IDENTITY | {"ops": 4})


@pytest.mark.parametrize("size", [0, 10, 30, 60, -1, -9])
def test_a_damaged_checkpoint(stored: Path, size: int) -> None:
    """A file that was cut off anywhere is refused."""
    stored.write_bytes(stored.read_bytes()[:size])

    with pytest.raises(CheckpointError, match=r"(is no checkpoint of a proof|is damaged)\.$"):
        checkpoint.load(stored, IDENTITY)


def test_a_checkpoint_that_cannot_be_had(tmp_path: Path) -> None:
    """Neither read nor written."""
    with pytest.raises(CheckpointError, match=r"cannot be read: "):
        checkpoint.load(tmp_path / "none", IDENTITY)
    with pytest.raises(CheckpointError, match=r"cannot be written: "):
        checkpoint.save(tmp_path / "none" / "proof", IDENTITY, State(), [])


def test_unknown_operation() -> None:
    """The sentence lists those that there are."""
    with pytest.raises(UnknownOperation, match=r"^'wirte' is no operation; there are read, write,"):
        scope_of(Header(1, 1), 1, ["wirte"])
