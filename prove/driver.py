"""A proof from beginning to end: level by level, over worker processes, within its limits, with checkpoints.

The work is done in rounds of a few seconds, and a round is always finished: between two rounds the paths and the set of
worlds agree, and a proof can go on from a stored state.
"""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.pool import Pool
from typing import Final, NamedTuple

from shootdown.mm.world import FlushStrategy
from shootdown.prove.scope import Scope
from shootdown.prove.search import Illegal, Search
from shootdown.prove.visited import MOST, SLOT, Visited
from shootdown.store import Verdict
from shootdown.system.interrupts import Interrupts
from shootdown.system.refusal import Refusal

FIRST_SLOTS: Final = 1 << 20
LOAD: Final = 0.4
"""Between two rounds the table of worlds grows if it is fuller than this."""
ROUND_SECONDS: Final = 2.0
SAVE_SECONDS: Final = 30.0
CHUNK: Final = 16
LOST_SECONDS: Final = 1.0
"""After so long without an answer the parent checks whether all workers are alive."""
PATH_BYTES: Final = 160
"""The memory that a path needs, including its place in the list and its object."""


@dataclass(slots=True)
class State:
    """How far a proof is: enough to go on with it in another process.

    `level`: the number of operations that every path of `frontier` starts.
    `position`: the paths before it are expanded, into `following`.
    """

    level: int = 0
    frontier: list[bytes] = field(default_factory=list)
    position: int = 0
    following: list[bytes] = field(default_factory=list)
    worlds: int = 0
    transitions: int = 0
    cut: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """How a proof ended: everything was explored up to `state.level` operations.

    `why`: the limit of an undecided proof.
    `path`, `reason`: the counterexample of an illegal proof.
    """

    verdict: Verdict
    state: State
    why: str = ""
    path: bytes = b""
    reason: str = ""


class Answer(NamedTuple):
    """What a worker made from a chunk of paths."""

    found: list[bytes]
    worlds: int
    transitions: int
    cut: int
    illegal: tuple[bytes, str] | None


View = Callable[[State], None]
Save = Callable[[State, Iterable[int]], None]
"""A function that gets a state from which a proof can go on, and all hashes seen."""


class Limit(Exception):
    """The proof must stop undecided; the message says why."""


class Prover:
    """Explores one scope with some worker processes, within limits.

    `seconds`: the time limit of this process.
    `memory`: the limit for the table of worlds and the paths, in bytes.
    """

    def __init__(
        self,
        scope: Scope,
        strategy: FlushStrategy,
        *,
        workers: int = 1,
        seconds: float | None = None,
        memory: int = 1 << 30,
        rules: frozenset[str] = frozenset(),
        view: View = lambda _: None,
        save: Save | None = None,
    ) -> None:
        self.scope = scope
        self.strategy = strategy
        self.workers = workers
        self.limit = seconds
        self.memory = memory
        self.rules = rules
        self.view = view
        self.save = save
        self.visited = Visited(FIRST_SLOTS)
        self.pool: Pool | None = None
        self.processes: set[int | None] = set()
        self.interrupts = Interrupts()
        self.state = State()

    def run(self, state: State | None = None, keys: Iterable[int] = ()) -> Result:
        """Explore the scope, or the rest of it after a stored state and its hashes, which this object takes over.

        Errors: Refusal when a worker is lost.
        """
        try:
            with self.interrupts.counted():
                try:
                    self._begin(state, keys)
                except Limit as limit:
                    # The state is not stored: the table lacks the hashes that belong to it.
                    return Result("undecided", self.state, why=str(limit))
                self._levels()
        except Illegal as illegal:
            return Result("illegal", self.state, path=illegal.path, reason=illegal.reason)
        except Limit as limit:
            self._store()
            return Result("undecided", self.state, why=str(limit))
        finally:
            self._stop()
            self.visited.close()
        return Result("legal", self.state)

    def _search(self) -> Search:
        return Search(self.scope, self.strategy, self.visited, rules=self.rules)

    def _begin(self, state: State | None, keys: Iterable[int]) -> None:
        if state is None:
            search = self._search()
            self.state.frontier = search.begin()
            self._count(search.worlds, search.transitions, search.cut)
            return
        self.state = state
        self._grow(state.worlds)
        for key in keys:
            self.visited.add(key, key & MOST)

    def _levels(self) -> None:
        s = self.state
        earlier, began = s.seconds, time.monotonic()
        saved = began
        size = CHUNK * self.workers
        while s.level < self.scope.ops and s.frontier:
            while s.position < len(s.frontier):
                started = time.monotonic()
                self._round(size)
                now = time.monotonic()
                s.seconds = earlier + now - began
                self.view(s)
                if self.interrupts.count:
                    raise Limit("interrupted")
                if self.limit is not None and now - began > self.limit:
                    raise Limit("the time limit was reached")
                self._make_room()
                if now - saved > SAVE_SECONDS:
                    self._store()
                    saved = time.monotonic()
                if now - started < ROUND_SECONDS / 2:
                    size *= 2
                elif now - started > ROUND_SECONDS * 2:
                    size = max(size // 2, CHUNK * self.workers)
            s.level += 1
            s.frontier, s.following, s.position = s.following, [], 0
            self.view(s)
        if s.level < self.scope.ops:
            s.level = self.scope.ops
            self.view(s)

    def _round(self, size: int) -> None:
        """Expand the next paths of the frontier.

        Errors: Illegal, with the shortest path of those that the round has met.
        """
        s = self.state
        paths = s.frontier[s.position : s.position + size]
        chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
        illegal: list[tuple[int, bytes, str]] = []
        for answer in self._answers(chunks):
            if self.interrupts.count > 1:
                # The round is not finished: the state that was stored last is kept.
                raise KeyboardInterrupt
            s.following += answer.found
            self._count(answer.worlds, answer.transitions, answer.cut)
            if answer.illegal:
                illegal.append((len(answer.illegal[0]), *answer.illegal))
        if illegal:
            _, path, reason = min(illegal)
            raise Illegal(path, reason)
        s.position += len(paths)

    def _answers(self, chunks: list[list[bytes]]) -> Iterable[Answer]:
        last = self.state.level + 1 == self.scope.ops
        if self.workers == 1:
            search = self._search()
            return (expand(search, chunk, last=last) for chunk in chunks)
        if self.pool is None:
            _of_this_process.clear()
            _of_this_process.append(self._search())
            # Workers are forked, so that they have a policy from a user's file and the table of worlds.
            others = _children()
            self.pool = _pool(self.workers)
            self.processes = _children() - others
        return self._answers_of_workers(self.pool, chunks, last=last)

    def _answers_of_workers(
        self, pool: Pool, chunks: list[list[bytes]], *, last: bool
    ) -> Iterator[Answer]:
        """Yield the answers as they arrive.

        Errors: Refusal when a worker is lost, because its worlds are in the table and their paths are nowhere.
        """
        answers = pool.imap_unordered(_expand_here, [(chunk, last) for chunk in chunks])
        while True:
            try:
                yield answers.next(timeout=LOST_SECONDS)
            except StopIteration:
                return
            except multiprocessing.TimeoutError:
                if not self.processes <= _children():
                    if self.interrupts.count:
                        # A SIGTERM to the whole group has ended the workers: the round cannot be finished.
                        raise KeyboardInterrupt from None
                    message = "A worker of the proof was lost; is there too little memory for it?"
                    raise Refusal(message) from None
            except Exception:
                # Only an error of this process has a traceback, which is needed to blame a user's policy.
                search = Search(self.scope, self.strategy, Visited(FIRST_SLOTS), rules=self.rules)
                for chunk in chunks:
                    expand(search, chunk, last=last)
                raise

    def _count(self, worlds: int, transitions: int, cut: int) -> None:
        self.state.worlds += worlds
        self.state.transitions += transitions
        self.state.cut += cut

    def _make_room(self) -> None:
        s = self.state
        if s.worlds > LOAD * self.visited.slots:
            self._grow(s.worlds)
        self._fit(self.visited.slots)

    def _fit(self, slots: int) -> None:
        paths = len(self.state.frontier) + len(self.state.following)
        if slots * SLOT + paths * PATH_BYTES > self.memory:
            message = f"the memory limit of {self.memory >> 20:,} MiB was reached"
            raise Limit(message)

    def _grow(self, worlds: int) -> None:
        """Move to a table that is less than half as full as allowed; the workers see it when they are forked again."""
        slots = self.visited.slots
        while worlds > LOAD / 2 * slots:
            slots *= 2
        self._fit(slots)
        self._stop()
        larger = Visited(slots)
        for key in self.visited:
            larger.add(key, key & MOST)
        self.visited.close()
        self.visited = larger

    def _store(self) -> None:
        if self.save:
            self.save(self.state, self.visited)

    def _stop(self) -> None:
        if self.pool:
            self.pool.terminate()
            self.pool.join()
            self.pool = None


_of_this_process: list[Search] = []
"""The search of a worker process; it is stored here before the fork."""


def expand(search: Search, chunk: list[bytes], *, last: bool) -> Answer:
    """Expand a chunk of paths. After a violation the rest of the chunk is left out."""
    before = search.worlds, search.transitions, search.cut
    found: list[bytes] = []
    illegal = None
    try:
        found = search.expand(chunk, last=last)
    except Illegal as met:
        illegal = met.path, met.reason
    worlds, transitions, cut = before
    return Answer(
        found,
        search.worlds - worlds,
        search.transitions - transitions,
        search.cut - cut,
        illegal,
    )


def _children() -> set[int | None]:
    return {child.pid for child in multiprocessing.active_children()}


def _expand_here(job: tuple[list[bytes], bool]) -> Answer:
    chunk, last = job
    return expand(_of_this_process[0], chunk, last=last)


def _pool(workers: int) -> Pool:
    """Fork the workers; SIGTERM is blocked until each has given up the handlers of this process.

    A pool that ends at once, at a violation in its first chunk, would send SIGTERM earlier than that: the inherited
    handler would only note the signal and return, and the pool would wait for the worker for ever.
    """
    fork = multiprocessing.get_context("fork")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        return fork.Pool(workers, initializer=_leave_interrupts_to_the_parent)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_interrupts_to_the_parent() -> None:
    """Ignore Ctrl-C and a closed terminal, which reach the whole group; the pool ends its processes with SIGTERM."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
