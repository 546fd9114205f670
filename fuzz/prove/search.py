"""Exhaustive search, operation by operation.

A level is all worlds that k operations can lead to, whatever the interleaving and whatever the hardware does; the next
level starts one more operation in each.
So the first violation has as few operations as one can have.

Reductions, each checked against the plain search in tests/test_prove_search.py:

* worlds of one key are one (fuzz.prove.canonical);
* the release of a page-table lock, and the return of an operation, are carried out at once: they are left movers, and a
  return only makes the oracle stricter (mm.locks);
* an eviction happens right before the CPU's own access or fill of that page, for until then nobody can tell;
* a fill happens right before the move that changes what it would fill, for until then it can wait.
"""

from collections.abc import Sequence
from typing import Final

from fuzz.minimize.rewrite import ACCESSES
from fuzz.oracle import Oracle, Violation
from fuzz.prove.canonical import key_of
from fuzz.prove.moves import (
    EVICT,
    FILL,
    START,
    STEP,
    carry_out,
    move_of,
    moves_in,
    path_of,
    world_of,
)
from fuzz.prove.scope import Scope
from fuzz.prove.visited import Visited
from fuzz.verdict import REASONS
from machine.entry import PRESENT, PSE
from mm.access import user_access
from mm.deliver import access_ended
from mm.fault import fault_done
from mm.flush import FlushStrategy
from mm.frames import OutOfMemoryError
from mm.locks import pmd_unlock, pte_unlock
from mm.operation import op_return, read_unlock_return, write_unlock_return
from mm.world import World

_UNLOCKS: Final = frozenset({pmd_unlock, pte_unlock})
_RETURNS: Final = frozenset(
    {op_return, read_unlock_return, write_unlock_return, fault_done, access_ended}
)
_LEFT_MOVERS: Final = _UNLOCKS | _RETURNS
Node = tuple[World, Oracle, bytes]


class Illegal(Exception):
    """A path that ends in a violation, and its reason."""

    def __init__(self, path: bytes, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


class Search:
    """The search of one process.

    `transitions` counts the worlds that were made, `worlds` those that nobody had seen with as few operations, `cut`
    the runs that ended because no frame was left.
    """

    def __init__(
        self,
        scope: Scope,
        strategy: FlushStrategy,
        visited: Visited,
        *,
        rules: frozenset[str] = frozenset(),
        reduced: bool = True,
    ) -> None:
        """`rules` are those of which a violation counts, all if it is empty; a run ends with a violation of any."""
        self.scope = scope
        self.strategy = strategy
        self.visited = visited
        self.rules = rules
        self.reduced = reduced
        self.transitions = 0
        self.worlds = 0
        self.cut = 0
        self._level = 0
        self._cpus = range(scope.header.cpus)
        self._pages = range(scope.header.pages)
        self._huge = scope.huge()

    def begin(self) -> list[bytes]:
        """Return level 0: what the hardware can make of the first world."""
        w, oracle = world_of(b"", self.scope, self.strategy)
        self.visited.add(key_of(w, oracle, rename_cpus=self.reduced, huge=self._huge))
        self.worlds += 1
        found: list[bytes] = []
        self._close((w, oracle, b""), found)
        return found

    def expand(self, paths: Sequence[bytes], *, last: bool = False) -> list[bytes]:
        """Return what one more operation makes of some paths of a level: the paths of the next that were not seen.

        On the last level nobody needs them, and none is returned.

        Error: Illegal.
        """
        found: list[bytes] = []
        for path in paths:
            if last:
                found.clear()
            w, oracle = world_of(path, self.scope, self.strategy)
            todo: list[bytes] = []
            self._start((w, oracle, path), found, todo)
            while todo:
                late = todo.pop()
                w, oracle = world_of(late, self.scope, self.strategy)
                self._start((w, oracle, late), found, todo)
        return [] if last else found

    def _start(self, node: Node, found: list[bytes], late: list[bytes]) -> None:
        """Start each operation on each idle CPU; `late` gets the worlds of this level that only a start asks for."""
        w, _, path = node
        fills: set[tuple[int, int]] = set()
        level = sum(move >> 3 >= START for move in moves_in(path))
        self._level = level + 1
        for cpu in self._cpus:
            if w.steps[cpu]:
                continue
            for i, record in enumerate(self.scope.alphabet):
                start = move_of(START + i, cpu)
                self._try(node, (start,), fills, found)
                if self.reduced and record[0] in ACCESSES and self._cached(w, cpu, record[3]):
                    self._try(node, (move_of(EVICT + record[3], cpu), start), fills, found)
        self._level = level
        for cpu, page in fills:
            self._try(node, self._fill(w, cpu, page), None, late)

    def _close(self, first: Node, found: list[bytes]) -> None:
        """Explore what steps and hardware make of a new world without starting an operation."""
        stack = [first]
        while stack:
            node = stack.pop()
            w, _, path = node
            busy = [cpu for cpu in self._cpus if w.steps[cpu]]
            if not busy:
                self._rest(node)
            if len(busy) < len(self._cpus):
                found.append(path)
            fills: set[tuple[int, int]] = set()
            for cpu in busy:
                step = move_of(STEP, cpu)
                self._go(node, (step,), fills, stack)
                current = w.steps[cpu][-1]
                if self.reduced and current[0] == user_access and self._cached(w, cpu, current[1]):
                    self._go(node, (move_of(EVICT + current[1], cpu), step), fills, stack)
            if not self.reduced:
                for cpu in self._cpus:
                    for page in self._pages:
                        self._go(node, (move_of(FILL + page, cpu),), None, stack)
                        self._go(node, (move_of(EVICT + page, cpu),), None, stack)
            for cpu, page in fills:
                self._go(node, self._fill(w, cpu, page), None, stack)

    def _fill(self, w: World, cpu: int, page: int) -> tuple[int, ...]:
        """Return the moves that leave the page cached as the tables are now."""
        fill = move_of(FILL + page, cpu)
        return (move_of(EVICT + page, cpu), fill) if self._cached(w, cpu, page) else (fill,)

    def _try(
        self,
        node: Node,
        moves: tuple[int, ...],
        fills: set[tuple[int, int]] | None,
        found: list[bytes],
    ) -> None:
        """Carry out moves, and explore what that leads to without starting an operation."""
        stack: list[Node] = []
        self._go(node, moves, fills, stack)
        for new in stack:
            self._close(new, found)

    def _go(
        self,
        node: Node,
        moves: tuple[int, ...],
        fills: set[tuple[int, int]] | None,
        stack: list[Node],
    ) -> None:
        """Carry out moves on a copy, and the left movers behind them.

        A new world goes on the stack, and what could be filled before the moves into `fills`.
        """
        _, known, path = node
        w, oracle = known.fork()
        self.transitions += 1
        walks = self._walks(w) if fills is not None and self.reduced else []
        try:
            for move in moves:
                path += path_of(move)
                if not carry_out(w, self.scope, move):
                    return
            mover = self._left_mover(w, oracle) if self.reduced else -1
            while mover >= 0:
                move = move_of(STEP, mover)
                path += path_of(move)
                carry_out(w, self.scope, move)
                mover = self._left_mover(w, oracle)
        except Violation as violation:
            self._judge(path, violation.reason)
            return
        except OutOfMemoryError:
            self.cut += 1
            return
        finally:
            if fills is not None and walks:
                after = self._walks(w)
                if after != walks:
                    width = len(self._pages)
                    fills.update(
                        divmod(i, width) for i, walk in enumerate(walks) if walk != after[i]
                    )
        key = key_of(w, oracle, rename_cpus=self.reduced, huge=self._huge)
        if self.visited.add(key, self._level):
            self.worlds += 1
            stack.append((w, oracle, path))

    def _rest(self, node: Node) -> None:
        """Judge a world in which no operation is in flight (C6)."""
        _, oracle, path = node
        _, copy = oracle.fork()
        try:
            copy.at_rest()
        except Violation as violation:
            self._judge(path, violation.reason)

    def _judge(self, path: bytes, reason: str) -> None:
        if not self.rules or REASONS[reason][0] in self.rules:
            raise Illegal(path, reason) from None

    def _left_mover(self, w: World, oracle: Oracle) -> int:
        """Return a CPU whose next step commutes to the left of what the others do, -1 for none."""
        for cpu in self._cpus:
            stack = w.steps[cpu]
            if stack and stack[-1][0] in _LEFT_MOVERS:
                code = stack[-1][0]
                # An MADV_FREE that returns makes a difference to the stores around it.
                if code in _UNLOCKS or not oracle.open_free[cpu]:
                    return cpu
        return -1

    def _cached(self, w: World, cpu: int, page: int) -> bool:
        tag = w.machine.pcid[cpu] << 4
        tlb = w.machine.tlb[cpu]
        return tag | page in tlb or tag | 8 | page >> 2 in tlb

    def _walks(self, w: World) -> list[tuple[int, int]]:
        """Return what a fill of each page by each CPU would read: the upper entry and the leaf."""
        machine = w.machine
        memory = machine.memory
        walks: list[tuple[int, int]] = []
        for cpu in self._cpus:
            root = machine.cr3[cpu]
            psc = machine.psc[cpu]
            tag = machine.pcid[cpu] << 1
            for page in self._pages:
                if root < 0:
                    walks.append((0, 0))
                    continue
                upper = psc.get(tag | page >> 2, -1)
                if upper < 0:
                    upper = memory[root << 2 | page >> 2]
                if upper & (PRESENT | PSE) == PRESENT:
                    at = ((upper >> 19) & 60 | (upper >> 12) & 3) << 2 | page & 3
                    walks.append((upper, memory[at]))
                else:
                    walks.append((upper, 0))
        return walks
