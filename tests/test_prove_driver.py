"""A proof from beginning to end: several workers, limits, checkpoints, and the counterexample as a scenario."""

import json
import multiprocessing
import os
import signal
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from fuzz.campaign.plan import CampaignError
from fuzz.execute import execute
from fuzz.prove.checkpoint import MAGIC, CheckpointError, load, save
from fuzz.prove.counterexample import operations_in, scenario_of
from fuzz.prove.driver import FIRST_SLOTS, PATH_BYTES, Prover, Result, State
from fuzz.prove.scope import Scope, UnknownOperation, scope_of
from fuzz.prove.visited import SLOT, Visited
from fuzz.scenario import Header, Scenario, decode, encode, kinds
from mm.world import World
from optimized.policies import REGISTRY
from optimized.strategy import GatherFlush

ROOM = FIRST_SLOTS * SLOT
"""The memory of a prover without a path."""
IDENTITY = {"policy": "linux", "ops": 2}


def bounded(*names: str, ops: int, cpus: int = 2, layout: int = kinds.PRIVATE) -> Scope:
    """The scope of one page and these operations."""
    return scope_of(Header(cpus, 1, layout), ops, names)


SMALL = bounded("read", "dontneed", ops=2)


def whole() -> Result:
    """The uninterrupted proof of the small scope."""
    return Prover(SMALL, REGISTRY["linux"].make()).run()


def figures(result: Result) -> tuple[object, ...]:
    """All of a result that must not depend on interruptions."""
    state = result.state
    return result.verdict, state.level, state.worlds, state.transitions, state.cut


# Limits and checkpoints.


def test_a_legal_scope() -> None:
    """The verdict of a scope without a violation comes with what was explored, up to the last operation."""
    result = whole()

    assert result.verdict == "legal"
    assert result.state.level == SMALL.ops
    assert 100 < result.state.worlds < result.state.transitions


def with_keys(workers: int) -> tuple[Result, set[int]]:
    """The proof of the small scope by some workers, and the hashes of all worlds."""
    keys: set[int] = set()
    prover = Prover(SMALL, REGISTRY["linux"].make(), workers=workers)

    def look(_state: State) -> None:
        keys.update(prover.visited)

    prover.view = look
    return prover.run(), keys


def test_two_workers_find_what_one_finds() -> None:
    """The set of worlds is the same with two workers; a world that both make at once may be counted twice."""
    (one, its_keys), (two, their_keys) = with_keys(1), with_keys(2)

    assert one.verdict == two.verdict == "legal"
    assert its_keys == their_keys
    assert one.state.worlds == len(its_keys) <= two.state.worlds


def test_two_workers_find_a_violation() -> None:
    """The verdict and the number of operations do not depend on the workers."""
    scope = bounded("write", "munmap", ops=3)
    strategy = REGISTRY["free-before-flush"].make()
    for workers in (1, 2):
        result = Prover(scope, strategy, workers=workers, rules=frozenset({"C3"})).run()

        assert (result.verdict, result.state.level) == ("illegal", 1)
        assert operations_in(scenario_of(result.path, scope, strategy)) == 2


def test_stopped_by_memory_and_continued(tmp_path: Path) -> None:
    """A proof that met the memory limit goes on from its checkpoint, and ends as if it had not been interrupted."""
    path = tmp_path / "proof"

    def keep(state: State, keys: Iterable[int]) -> None:
        save(path, IDENTITY, state, keys)

    strategy = REGISTRY["linux"].make()
    stopped = Prover(SMALL, strategy, memory=ROOM + 4 * PATH_BYTES, save=keep).run()

    assert (stopped.verdict, stopped.why) == ("undecided", "the memory limit of 8 MiB was reached")
    state, keys = load(path, IDENTITY)
    assert 0 < state.worlds == len(keys) < whole().state.worlds
    assert figures(Prover(SMALL, strategy).run(state, keys)) == figures(whole())


def test_stopped_after_every_round(tmp_path: Path) -> None:
    """However often a proof is stopped, it ends as the uninterrupted one."""
    path = tmp_path / "proof"
    strategy = REGISTRY["linux"].make()

    def keep(state: State, keys: Iterable[int]) -> None:
        save(path, IDENTITY, state, keys)

    result = Prover(SMALL, strategy, seconds=0.0, save=keep).run()
    stops = 0
    while result.verdict == "undecided":
        assert result.why == "the time limit was reached"
        stops += 1
        state, keys = load(path, IDENTITY)
        result = Prover(SMALL, strategy, seconds=0.0, save=keep).run(state, keys)

    assert stops > 1
    assert figures(result) == figures(whole())


def test_a_checkpoint_too_large_for_the_memory(tmp_path: Path) -> None:
    """A proof that has no room for what its checkpoint holds stops, and leaves the checkpoint as it was."""
    path = tmp_path / "proof"
    strategy = REGISTRY["linux"].make()

    def keep(state: State, keys: Iterable[int]) -> None:
        save(path, IDENTITY, state, keys)

    Prover(SMALL, strategy, memory=ROOM + 4 * PATH_BYTES, save=keep).run()
    before = load(path, IDENTITY)
    stopped = Prover(SMALL, strategy, memory=1, save=keep).run(*load(path, IDENTITY))

    assert stopped.verdict == "undecided"
    assert load(path, IDENTITY)[0] == before[0]
    assert sorted(load(path, IDENTITY)[1]) == sorted(before[1])


class Dies(GatherFlush):
    """A strategy that ends the process that uses it, unless it is the first."""

    first = os.getpid()

    def gather_begin(self, w: World, cpu: int, mm: int) -> None:
        """Die in a worker."""
        if os.getpid() != self.first:
            os.kill(os.getpid(), signal.SIGKILL)
        super().gather_begin(w, cpu, mm)


def test_a_lost_worker() -> None:
    """A worker that is killed takes paths with it: the proof fails and does not wait for ever."""
    prover = Prover(SMALL, replace(REGISTRY["linux"], strategy=Dies).make(), workers=2)

    with pytest.raises(CampaignError, match=r"^A worker of the proof was lost"):
        prover.run()
    assert not multiprocessing.active_children()


def test_a_violation_of_another_rule_does_not_count() -> None:
    """With rules given, a run that breaks another one ends there, and the proof goes on."""
    scope = bounded("write", "munmap", ops=2)
    strategy = REGISTRY["free-before-flush"].make()

    assert Prover(scope, strategy).run().verdict == "illegal"
    assert Prover(scope, strategy, rules=frozenset({"C5"})).run().verdict == "legal"


def test_the_view_sees_every_operation() -> None:
    """The view is told of each round, and at last that all operations are explored."""
    levels: list[int] = []
    Prover(SMALL, REGISTRY["linux"].make(), view=lambda state: levels.append(state.level)).run()

    assert sorted(levels) == levels
    assert {*levels} == {0, 1, 2}


def test_more_operations_contain_fewer() -> None:
    """What was explored with up to two operations is a part of what there is with up to three."""
    one, two = (
        Prover(SMALL._replace(ops=ops), REGISTRY["linux"].make()).run().state for ops in (1, 2)
    )

    assert one.worlds < two.worlds
    assert one.transitions < two.transitions


# Checkpoint files.


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A checkpoint with a few paths and hashes."""
    path = tmp_path / "proof"
    state = State(1, [b"\0\1", b"", b"\2\3\4\5"], 2, [b"\6\7"], 5, 7, 1, 0.5)
    save(path, IDENTITY, state, [1, (1 << 64) - 1])
    return path


def test_what_was_saved_is_loaded(stored: Path) -> None:
    """State and hashes come back as they were, and nothing else is in the folder."""
    state, keys = load(stored, IDENTITY)

    assert state == State(1, [b"\0\1", b"", b"\2\3\4\5"], 2, [b"\6\7"], 5, 7, 1, 0.5)
    assert list(keys) == [1, (1 << 64) - 1]
    assert [path.name for path in stored.parent.iterdir()] == ["proof"]


def refusal(path: Path, identity: dict[str, object] | None = None) -> str:
    """The sentence with which a checkpoint is refused, without the folder."""
    with pytest.raises(CheckpointError) as refused:
        load(path, IDENTITY if identity is None else identity)
    sentence = str(refused.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence.replace(f"{path.parent}/", "")


def test_a_missing_checkpoint(tmp_path: Path) -> None:
    """The sentence has the reason of the system."""
    assert refusal(tmp_path / "gone") == (
        "The checkpoint gone cannot be read: No such file or directory."
    )


@pytest.mark.parametrize("content", [b"", b"shootdown", b"SQLite format 3\0", MAGIC[:-1]])
def test_a_foreign_file(tmp_path: Path, content: bytes) -> None:
    """A file that does not begin as a checkpoint is none."""
    (tmp_path / "other").write_bytes(content)

    assert refusal(tmp_path / "other") == "other is no checkpoint of a proof."


def test_a_truncated_checkpoint(stored: Path) -> None:
    """Wherever a checkpoint is cut off, it is damaged."""
    data = stored.read_bytes()
    for size in range(len(MAGIC), len(data)):
        stored.write_bytes(data[:size])
        assert refusal(stored) == "The checkpoint proof is damaged."


def test_a_changed_checkpoint(stored: Path) -> None:
    """A changed byte is found, except in what only the machine reads, the lengths and the compression."""
    data = stored.read_bytes()
    for at in range(len(MAGIC), len(data)):
        stored.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            state, keys = load(stored, IDENTITY)
        except CheckpointError as error:
            assert str(error).endswith((" is damaged.",))  # noqa: PT017 (either way is right)
        else:
            assert (state.worlds, list(keys)) == (5, [1, (1 << 64) - 1])


@pytest.mark.parametrize(
    "head", ["[]", "{}", "null", '{"identity": {}}', '{"level": 0}', "1", "{", '"identity"']
)
def test_a_checkpoint_of_nonsense(tmp_path: Path, head: str) -> None:
    """A file that is packed like a checkpoint and holds something else is damaged."""
    parts = [zlib.compress(part) for part in (head.encode(), b"", b"", b"")]
    packed = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    (tmp_path / "proof").write_bytes(MAGIC + packed)

    assert refusal(tmp_path / "proof") == "The checkpoint proof is damaged."


@pytest.mark.parametrize("identity", [[], 1, "linux", None])
def test_an_identity_of_nonsense(stored: Path, identity: object) -> None:
    """An identity that names nothing is damage as well."""
    state, _ = load(stored, IDENTITY)
    counters = {
        name: getattr(state, name)
        for name in ("level", "position", "worlds", "transitions", "cut", "seconds")
    }
    head = json.dumps(counters | {"identity": identity}).encode()
    parts = [zlib.compress(part) for part in (head, b"", b"", b"")]
    stored.write_bytes(MAGIC + b"".join(len(part).to_bytes(8, "little") + part for part in parts))

    assert refusal(stored) == "The checkpoint proof is damaged."


def test_a_checkpoint_of_another_proof(stored: Path) -> None:
    """The sentence names what is different."""
    assert refusal(stored, {"policy": "v1", "ops": 2}) == (
        "The checkpoint proof is of another proof: its policy is linux, here it is v1."
    )
    assert refusal(stored, {"policy": "linux", "ops": 3}) == (
        "The checkpoint proof is of another proof: its ops is 2, here it is 3."
    )
    assert refusal(stored, IDENTITY | {"pages": 1}) == (
        "The checkpoint proof is of another proof: its pages is None, here it is 1."
    )


def test_a_checkpoint_that_cannot_be_written(stored: Path) -> None:
    """The sentence has the reason, and a checkpoint that there was stays."""
    before = stored.read_bytes()
    state, keys = load(stored, IDENTITY)
    stored.with_name("proof.new").mkdir()

    with pytest.raises(CheckpointError, match=r"proof cannot be written: Is a directory\.$"):
        save(stored, IDENTITY, state, keys)
    assert stored.read_bytes() == before

    with pytest.raises(CheckpointError, match=r"cannot be written: No such file or directory\.$"):
        save(stored.parent / "gone" / "proof", IDENTITY, state, keys)


# Counterexamples.


@pytest.mark.parametrize(
    ("policy", "names", "ops", "cpus"),
    [
        ("v1", ("read", "exec", "mprotect"), 3, 1),
        ("v1", ("exec", "mprotect"), 2, 2),
        ("free-before-flush", ("write", "munmap"), 2, 2),
        ("skip-write-protect", ("write", "mprotect"), 2, 2),
        ("drop-last-page", ("write", "mprotect"), 2, 2),
        ("copy-before-flush", ("write", "migrate"), 2, 2),
        ("skip-lazy-tables", ("read", "munmap", "lazy"), 3, 2),
        ("v1-pending-leak", ("read", "mprotect"), 2, 2),
        ("skip-dirty-clear", ("write", "free", "reclaim"), 4, 1),
        ("trust-accessed", ("write", "age", "mprotect"), 4, 1),
    ],
)
def test_the_scenario_shows_the_same(
    policy: str, names: tuple[str, ...], ops: int, cpus: int
) -> None:
    """A counterexample is a canonical scenario that fails for the same reason when it is executed."""
    scope = bounded(*names, ops=ops, cpus=cpus)
    strategy = REGISTRY[policy].make()
    result = Prover(scope, strategy).run()
    assert result.verdict == "illegal"
    scenario = scenario_of(result.path, scope, strategy)

    assert execute(scenario, REGISTRY[policy].make()).reason == result.reason
    assert decode(encode(scenario)) == scenario
    assert operations_in(scenario) == result.state.level + 1


# Scopes and worlds.


def test_the_alphabet_of_a_scope() -> None:
    """Each operation comes with each page, all pages at once, and each argument that is another entry."""
    scope = scope_of(Header(2, 2), 1, ["read", "munmap", "mprotect", "fork", "mremap", "switch"])
    alphabet = scope.alphabet
    of = {kind: [record for record in alphabet if record[0] == kind] for kind, *_ in alphabet}

    assert [record[3:5] for record in of[kinds.READ]] == [(0, 1), (1, 1)]
    assert [record[3:5] for record in of[kinds.MUNMAP]] == [(0, 1), (1, 1), (0, 2)]
    assert len(of[kinds.MPROTECT]) == 3 * 5
    assert of[kinds.FORK] == [(kinds.FORK, 0, 0, 0, 1, 0)]
    assert {record[5] for record in of[kinds.MREMAP]} == {0, 1}
    assert {record[5] for record in of[kinds.SWITCH]} == {0, 1, 2}
    assert len({*alphabet}) == len(alphabet)


def test_records_of_a_scope_are_canonical() -> None:
    """What a scope starts is what a scenario can say."""
    names = [kind.name for kind in kinds.KINDS[: kinds.RUN]]
    scope = scope_of(Header(2, 3), 1, names)
    scenario = Scenario(scope.header, scope.alphabet)

    assert decode(encode(scenario)) == scenario


@pytest.mark.parametrize("name", ["sleep", "", "fill", "run", "READ"])
def test_an_unknown_operation(name: str) -> None:
    """A name that starts nothing is one sentence, which lists those that do."""
    with pytest.raises(UnknownOperation, match=r"^'.*' is no operation; there are read, .*age\.$"):
        scope_of(Header(2, 2), 1, ["read", name])


def test_a_scope_in_words() -> None:
    """The words name everything that bounds the search."""
    one = scope_of(Header(1, 1), 1, ["read"])
    more = scope_of(replace_header(Header(2, 3), "shared", kinds.AMD, 2), 4, ["read", "write"])

    assert one.words() == (
        "1 CPU, 1 page (private, 1 ASID, batch 1), up to 1 operations of read;"
        " speculative fill and eviction at any time"
    )
    assert more.words().startswith("2 CPUs, 3 pages (shared, machine amd, 2 ASIDs, batch 1)")


def replace_header(header: Header, layout: str, machine: int, asids: int) -> Header:
    """The header with another layout, machine and number of ASIDs."""
    return header._replace(layout=kinds.LAYOUTS.index(layout), machine=machine, asids=asids)


def test_the_set_of_worlds() -> None:
    """A hash is new once, also when others have the same place in the table."""
    visited = Visited(8)
    keys = [8, 16, 24, 7, 15]

    assert [visited.add(key) for key in keys] == [True] * 5
    assert [visited.add(key) for key in keys] == [False] * 5
    assert sorted(visited) == sorted(keys)
    visited.close()


def test_the_table_grows() -> None:
    """A larger table holds what the smaller one held."""
    prover = Prover(SMALL, REGISTRY["linux"].make(), memory=1 << 40)
    for key in range(1, 100):
        prover.visited.add(key)
    prover._grow(FIRST_SLOTS)

    assert prover.visited.slots > FIRST_SLOTS
    assert sorted(prover.visited) == list(range(1, 100))
    assert not prover.visited.add(5)
    prover.visited.close()
