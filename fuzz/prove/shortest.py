"""The shortest scenario that breaks a rule, by breadth-first search over records.

Here a record costs one, whether it starts an operation, goes on with one or is a choice of the hardware, because that
is how the minimizer counts; fuzz.prove.search counts operations alone.
Every pause between two steps is tried, also such as no record can express, so what is not found is not there.
"""

from collections.abc import Iterator

from fuzz.execute import STARTS_BY_KIND, apply, boot, finish
from fuzz.oracle import Oracle, Violation
from fuzz.prove.canonical import key_of
from fuzz.prove.scope import Scope
from fuzz.scenario import kinds
from fuzz.scenario.record import Record, Scenario
from fuzz.verdict import REASONS
from mm.flush import FlushStrategy
from mm.frames import OutOfMemoryError
from mm.operations import begin
from mm.step import run_steps
from mm.world import World

Path = tuple[Record, ...]


class _Broken(Exception):
    """A path that breaks the rule."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path


class Shortest:
    """Searches a scope for the shortest scenario that breaks a rule; `scope.ops` bounds the records.

    `complete` is the number of records up to which there is none, `worlds` counts the worlds seen.
    """

    def __init__(self, scope: Scope, strategy: FlushStrategy, rule: str) -> None:
        self.scope = scope
        self.strategy = strategy
        self.rule = rule
        self.complete = 0
        self.worlds = 0
        self._huge = scope.huge()
        self._seen: set[int] = set()

    def levels(self) -> Iterator[Scenario | None]:
        """Yield, for each number of records, the scenario that breaks the rule, and end; or None, and go on."""
        frontier: list[Path] = [()]
        for _ in range(self.scope.ops):
            following: list[Path] = []
            try:
                for path in frontier:
                    self._expand(path, following)
            except _Broken as broken:
                yield Scenario(self.scope.header, broken.path)
                return
            self.complete += 1
            yield None
            frontier = following

    def _world(self, path: Path) -> tuple[World, Oracle]:
        w, oracle = boot(self.scope.header, self.strategy)
        for record in path:
            apply(w, record)
        return w, oracle

    def _expand(self, path: Path, following: list[Path]) -> None:
        w, oracle = self._world(path)
        for cpu in range(self.scope.header.cpus):
            for kind, _, _, page, count, arg in self.scope.alphabet:
                self._run((kind, cpu, 0, page, count, arg), path, oracle, following)
            if w.steps[cpu]:
                self._run((kinds.RUN, cpu, 0, 0, 1, 0), path, oracle, following)
            for page in range(self.scope.header.pages):
                for kind in (kinds.FILL, kinds.EVICT):
                    self._run((kind, cpu, 0, page, 1, 0), path, oracle, following)

    def _run(self, record: Record, path: Path, oracle: Oracle, following: list[Path]) -> None:
        """Carry out a record with every pause that it can have."""
        kind, cpu, _, page, count, arg = record
        w, copy = oracle.fork()
        steps = 0
        try:
            if kind > kinds.RUN:
                apply(w, record)
            else:
                if kind < kinds.RUN:
                    if w.steps[cpu]:
                        finish(w, cpu)
                    begin(w, cpu, STARTS_BY_KIND[kind], kind, page, count, arg)
                while run_steps(w, cpu, 1) and w.steps[cpu]:
                    steps += 1
                    self._reach(copy, (*path, (kind, cpu, steps, page, count, arg)), following)
                finish(w, cpu)
            self._reach(copy, (*path, record), following)
        except Violation as violation:
            self._judge(violation, (*path, record))
        except OutOfMemoryError:
            return

    def _reach(self, oracle: Oracle, path: Path, following: list[Path]) -> None:
        """Note a world that was not seen before, and judge how a run would end there."""
        key = key_of(oracle.world, oracle, rename_cpus=False, huge=self._huge)
        if key in self._seen:
            return
        self._seen.add(key)
        self.worlds += 1
        following.append(path)
        w, copy = oracle.fork()
        try:
            for cpu in range(w.cpus):
                finish(w, cpu)
            copy.at_rest()
        except Violation as violation:
            self._judge(violation, path)
        except OutOfMemoryError:
            return

    def _judge(self, violation: Violation, path: Path) -> None:
        if REASONS[violation.reason][0] == self.rule:
            raise _Broken(path)
