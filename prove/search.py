"""Exhaustive search, operation by operation.

A level has all worlds that k operations can lead to, with any interleaving and any choice of the hardware; the next
level starts one more operation in each world. So the first violation has the fewest operations that are possible.

Reductions, each checked against the plain search in tests/test_prove_search.py and tests/test_prove_hardware.py:

* worlds that differ only in names count as one, and so do rotations of the CPUs (prove.canonical);
* the release of a page-table lock, and the return of an operation, are carried out at once: they are left movers, and a
  return can only make the oracle stricter (mm.locks);
* an eviction happens right before the CPU's own access or fill of that page, because no effect is visible before that;
* a fill happens right before the move that changes what it would fill, because it can wait until then; a fill that sets
  the accessed bit happens at any time, because others see the bit.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from shootdown.minimize.rewrite import ACCESSES
from shootdown.mm.access import user_access
from shootdown.mm.deliver import access_ended
from shootdown.mm.fault import fault_done
from shootdown.mm.frames import OutOfMemoryError
from shootdown.mm.locks import pmd_unlock, pte_unlock
from shootdown.mm.madvise import madvise_end
from shootdown.mm.operation import op_return, read_unlock_return, write_unlock_return
from shootdown.mm.world import FlushStrategy, World
from shootdown.prove.canonical import key_of
from shootdown.prove.hardware import (
    NO_WALKS,
    Walks,
    compare,
    evictions_before,
    fills_of,
    visible,
    walks_of,
)
from shootdown.prove.moves import (
    EVICTIONS,
    FILL_FETCH,
    FILLS,
    START,
    STEP,
    carry_out,
    move_of,
    moves_in,
    path_of,
    world_of,
)
from shootdown.prove.scope import Scope
from shootdown.prove.visited import Visited
from shootdown.run.oracle import Oracle, Violation
from shootdown.scenario.verdict import REASONS

_UNLOCKS: Final = frozenset({pmd_unlock, pte_unlock, madvise_end})
_RETURNS: Final = frozenset(
    {op_return, read_unlock_return, write_unlock_return, fault_done, access_ended}
)
_LEFT_MOVERS: Final = _UNLOCKS | _RETURNS
Node = tuple[World, Oracle, bytes]


class Reductions(NamedTuple):
    """What a search leaves out because the rest shows the same; each reduction can be switched off."""

    names: bool = True
    """Worlds that differ only in the names of frames, generations, objects and values count as one."""
    cpus: bool = True
    """Worlds that are rotations of one another count as one."""
    movers: bool = True
    """Left movers are carried out at once."""
    evictions: bool = True
    """An eviction happens right before the access or the fill that it makes a difference to."""
    fills: bool = True
    """A fill that no other CPU sees happens right before the move that changes what it would fill."""


ALL: Final = Reductions()
NONE: Final = Reductions(names=False, cpus=False, movers=False, evictions=False, fills=False)


class Illegal(Exception):
    """A path that ends in a violation, and its reason."""

    def __init__(self, path: bytes, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


class Search:
    """The search of one process.

    `transitions`: the number of worlds that were made.
    `worlds`: how many of these were new, or had been seen only with more operations.
    `cut`: the number of runs that ended because no frame was left.
    """

    def __init__(
        self,
        scope: Scope,
        strategy: FlushStrategy,
        visited: Visited,
        *,
        rules: frozenset[str] = frozenset(),
        reductions: Reductions = ALL,
    ) -> None:
        """Search with these rules; a run ends with a violation of any rule.

        `rules`: the rules whose violations count; all if it is empty.
        """
        self.scope = scope
        self.strategy = strategy
        self.visited = visited
        self.rules = rules
        self.transitions = 0
        self.worlds = 0
        self.cut = 0
        self._names, self._rename_cpus, self._movers, self._late_evictions, self._late_fills = (
            reductions
        )
        self._level = 0
        self._cpus = range(scope.header.cpus)
        self._pages = range(scope.header.pages)
        self._huge = scope.huge()
        # A world equal to that of the node being explored; it is no longer needed, so a move can be carried out on it.
        self._spare: Oracle | None = None

    def begin(self) -> list[bytes]:
        """Return level 0: the first world, and what the hardware can make of it."""
        w, oracle = world_of(b"", self.scope, self.strategy)
        self.visited.add(self._key(w, oracle))
        self.worlds += 1
        found: list[bytes] = []
        self._close((w, oracle, b""), found)
        return found

    def expand(self, paths: Sequence[bytes], *, last: bool = False) -> list[bytes]:
        """Return the paths of the next level that one more operation makes of some paths of a level, and that are new.

        On the last level the paths are not needed, and none is returned.
        Errors: Illegal.
        """
        found: list[bytes] = []
        for path in paths:
            if last:
                found.clear()
            todo = [path]
            while todo:
                late = todo.pop()
                w, oracle = world_of(late, self.scope, self.strategy)
                self._start((w, oracle, late), found, todo)
        return [] if last else found

    def _start(self, node: Node, found: list[bytes], late: list[bytes]) -> None:
        """Start each operation on each idle CPU.

        `late`: it gets the worlds of this level that only a start needs.
        """
        w, oracle, path = node
        walks = walks_of(w) if self._late_fills else NO_WALKS
        fills: set[tuple[int, int]] = set()
        level = sum(move >> 3 >= START for move in moves_in(path))
        self._level = level + 1
        for cpu in self._cpus:
            if w.steps[cpu]:
                continue
            for i, record in enumerate(self.scope.alphabet):
                start = move_of(START + i, cpu)
                self._try(node, (start,), walks, fills, found)
                if self._late_evictions and record[0] in ACCESSES:
                    for evictions in evictions_before(w, cpu, record[3], 1 << record[0]):
                        self._try(node, (*evictions, start), walks, fills, found)
        self._level = level
        for moves in self._fills(w, fills):
            self._try(node, moves, NO_WALKS, fills, late)
        self._forget(oracle)

    def _close(self, first: Node, found: list[bytes]) -> None:
        """Explore what steps and hardware make of a new world, without starting an operation."""
        stack = [first]
        while stack:
            node = stack.pop()
            w, oracle, path = node
            own: Oracle | None = oracle
            busy = [cpu for cpu in self._cpus if w.steps[cpu]]
            if len(busy) < len(self._cpus):
                found.append(path)
            walks = walks_of(w) if self._late_fills else NO_WALKS
            fills = visible(w, walks)
            if not busy:
                if self._late_fills and self._late_evictions and not fills:
                    # Nothing else can follow from here.
                    self._spare, own = own, None
                self._rest(node)
            for cpu in busy:
                step = move_of(STEP, cpu)
                self._go(node, (step,), walks, fills, stack)
                current = w.steps[cpu][-1]
                if self._late_evictions and current[0] == user_access:
                    for evictions in evictions_before(w, cpu, current[1], current[2]):
                        self._go(node, (*evictions, step), walks, fills, stack)
            if not self._late_fills:
                fills.update((cpu, page) for cpu in self._cpus for page in self._pages)
            if not self._late_evictions:
                for cpu in self._cpus:
                    for what in EVICTIONS:
                        for page in self._pages:
                            self._go(node, (move_of(what + page, cpu),), NO_WALKS, fills, stack)
            hardware = self._fills(w, fills)
            for left, moves in enumerate(hardware, 1 - len(hardware)):
                if not left and self._spare is None:
                    self._spare, own = own, None
                self._go(node, moves, NO_WALKS, fills, stack)
            self._forget(own)

    def _fills(self, w: World, fills: set[tuple[int, int]]) -> list[tuple[int, ...]]:
        """Return the moves that leave each page cached as the tables are now, in every way.

        Nothing is evicted if an eviction is a move of its own.
        """
        if self._late_evictions:
            return [moves for cpu, page in fills for moves in fills_of(w, cpu, page)]
        fills_here = [each for each in FILLS if w.machine.split_tlb or each != FILL_FETCH]
        return [(move_of(each + page, cpu),) for each in fills_here for cpu, page in fills]

    def _try(
        self,
        node: Node,
        moves: tuple[int, ...],
        walks: Walks,
        fills: set[tuple[int, int]],
        found: list[bytes],
    ) -> None:
        """Carry out moves, and explore what they lead to, without starting an operation."""
        stack: list[Node] = []
        self._go(node, moves, walks, fills, stack)
        for new in stack:
            self._close(new, found)

    def _go(
        self,
        node: Node,
        moves: tuple[int, ...],
        walks: Walks,
        fills: set[tuple[int, int]],
        stack: list[Node],
    ) -> None:
        """Carry out moves on a copy, and then the left movers that follow.

        A new world goes on the stack. `fills` gets what could be filled before the moves: the places where a walk
        differs from `walks`, if `walks` is not empty.
        """
        self.transitions += 1
        oracle = self._copy(node[1])
        w = oracle.world
        made: list[int] = []
        reason = ""
        ended = True
        try:
            for move in moves:
                made.append(move)
                if not carry_out(w, self.scope, move):
                    if len(made) == 1:
                        self._spare = oracle
                    else:
                        oracle.detach()
                    return
            mover = self._left_mover(w, oracle) if self._movers else -1
            while mover >= 0:
                move = move_of(STEP, mover)
                made.append(move)
                carry_out(w, self.scope, move)
                mover = self._left_mover(w, oracle)
            ended = False
        except Violation as violation:
            reason = violation.reason
        except OutOfMemoryError:
            self.cut += 1
        if walks is not NO_WALKS:
            compare(w, walks, fills)
        if ended:
            oracle.detach()
            if reason:
                self._judge(node[2] + path_of(made), reason)
        elif self.visited.add(self._key(w, oracle), self._level):
            self.worlds += 1
            stack.append((w, oracle, node[2] + path_of(made)))
        else:
            oracle.detach()

    def _copy(self, oracle: Oracle) -> Oracle:
        """Return a copy of an oracle, with its world, that may be changed."""
        spare = self._spare
        if spare is None:
            return oracle.fork()[1]
        self._spare = None
        return spare

    def _forget(self, oracle: Oracle | None) -> None:
        """End the exploration of the node that owns this oracle, unless a move was carried out on it.

        A world and its oracle refer to each other, so they would wait for the garbage collector, which took a third of
        the time.
        """
        spare = self._spare
        if spare is not None:
            spare.detach()
            self._spare = None
        if oracle is not None:
            oracle.detach()

    def _key(self, w: World, oracle: Oracle) -> int:
        return key_of(w, oracle, names=self._names, rename_cpus=self._rename_cpus, huge=self._huge)

    def _rest(self, node: Node) -> None:
        """Judge a world in which no operation is in flight (C6)."""
        copy = self._copy(node[1])
        try:
            copy.at_rest()
        except Violation as violation:
            self._judge(node[2], violation.reason)
        finally:
            copy.detach()

    def _judge(self, path: bytes, reason: str) -> None:
        if not self.rules or REASONS[reason][0] in self.rules:
            raise Illegal(path, reason) from None

    def _left_mover(self, w: World, oracle: Oracle) -> int:
        """Return a CPU whose next step commutes to the left of the steps of other CPUs, or -1 if there is none."""
        for cpu in self._cpus:
            stack = w.steps[cpu]
            if stack and stack[-1][0] in _LEFT_MOVERS:
                code = stack[-1][0]
                # The return of an MADV_FREE makes a difference to the stores around it.
                if code in _UNLOCKS or cpu not in oracle.open_free:
                    return cpu
        return -1
