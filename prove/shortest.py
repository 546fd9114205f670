"""The shortest scenario that breaks a rule, by a search over records in the order of the length of their scenarios.

The length is the minimizer's (minimize.order): a record costs one, whether it starts an operation, goes on with one, or
is a choice of the hardware; a pause costs one more. prove.search counts operations only. The search tries every record
that has a binary form, with every pause that it can name and with no other. So what it finds is already a scenario, and
what it does not find does not exist.
"""

from collections.abc import Iterator

from shootdown.mm.frames import OutOfMemoryError
from shootdown.mm.operations import begin
from shootdown.mm.step import POINTS, run_steps
from shootdown.mm.world import FlushStrategy, World
from shootdown.prove.canonical import key_of
from shootdown.prove.scope import Scope
from shootdown.run.execute import OPERATION_OF, apply, boot, finish
from shootdown.run.oracle import Oracle, Violation
from shootdown.scenario import kinds
from shootdown.scenario.record import Record, Scenario
from shootdown.scenario.verdict import REASONS

Path = tuple[Record, ...]


class _Broken(Exception):
    """A path that breaks the rule."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path


class Shortest:
    """Searches a scope for the shortest scenario that breaks a rule; `scope.ops` bounds its length.

    `complete`: the length up to which there is no such scenario.
    `worlds`: the number of worlds seen.
    """

    def __init__(self, scope: Scope, strategy: FlushStrategy, rule: str) -> None:
        self.scope = scope
        self.strategy = strategy
        self.rule = rule
        self.complete = 0
        self.worlds = 0
        self._huge = scope.huge()
        self._pauses = kinds.pauses_at(strategy.points())
        self._seen: set[int] = set()

    def levels(self) -> Iterator[Scenario | None]:
        """Yield, for each length, the scenario of that length that breaks the rule, and then end; or None, and then go
        on.
        """
        # A record that pauses costs two: it leads from the worlds of the level before the last to those of the next.
        before: list[Path] = []
        last: list[Path] = [()]
        for _ in range(self.scope.ops):
            following: list[Path] = []
            try:
                for path in last:
                    self._expand(path, following, paused=False)
                for path in before:
                    self._expand(path, following, paused=True)
            except _Broken as broken:
                yield Scenario(self.scope.header, broken.path)
                return
            self.complete += 1
            yield None
            before, last = last, following

    def _world(self, path: Path) -> tuple[World, Oracle]:
        w, oracle = boot(self.scope.header, self.strategy)
        for record in path:
            apply(w, record)
        return w, oracle

    def _expand(self, path: Path, following: list[Path], *, paused: bool) -> None:
        """Carry out every record after a path: only those that pause, or only those that do not."""
        w, oracle = self._world(path)
        carry_out = self._pause if paused else self._run
        for cpu in range(self.scope.header.cpus):
            for kind, _, _, page, count, arg in self.scope.alphabet:
                carry_out((kind, cpu, 0, page, count, arg), path, oracle, following)
            if w.steps[cpu]:
                carry_out((kinds.RUN, cpu, 0, 0, 1, 0), path, oracle, following)
            for page in range(0 if paused else self.scope.header.pages):
                for kind in (kinds.FILL, kinds.EVICT):
                    for arg in range(len(kinds.KINDS[kind].argument.names)):
                        self._run((kind, cpu, 0, page, 1, arg), path, oracle, following)

    def _run(self, record: Record, path: Path, oracle: Oracle, following: list[Path]) -> None:
        """Carry out a record that does not pause."""
        w, copy = oracle.fork()
        try:
            apply(w, record)
            self._reach(copy, (*path, record), following)
        except Violation as violation:
            self._judge(violation, (*path, record))
        except OutOfMemoryError:
            return

    def _pause(self, record: Record, path: Path, oracle: Oracle, following: list[Path]) -> None:
        """Carry out a record with every pause that leaves something in flight.

        A violation on the way needs no pause, so a shorter scenario has shown it before.
        """
        kind, cpu, _, page, count, arg = record
        w, copy = oracle.fork()
        try:
            operation = OPERATION_OF[kind]
            if operation is not None:
                if w.steps[cpu]:
                    finish(w, cpu)
                begin(w, cpu, operation, page, count, arg)
                point = POINTS[w.steps[cpu][-1][0]]
                if point:
                    named = kinds.FIRST_POINT + kinds.POINTS.index(point)
                    self._reach(copy, (*path, (kind, cpu, named, page, count, arg)), following)
            for run in range(1, kinds.MAX_STEPS + 1):
                blocked = not run_steps(w, cpu, 1)
                if not w.steps[cpu]:
                    break
                self._reach(copy, (*path, (kind, cpu, run, page, count, arg)), following)
                if blocked:
                    break
            else:
                # After the last numbered step, a pause can name only a step that has a name.
                self._named_pauses(record, path, oracle, following)
        except (Violation, OutOfMemoryError):
            return

    def _named_pauses(
        self, record: Record, path: Path, oracle: Oracle, following: list[Path]
    ) -> None:
        kind, cpu, _, page, count, arg = record
        for run in self._pauses:
            w, copy = oracle.fork()
            paused = (kind, cpu, run, page, count, arg)
            try:
                apply(w, paused)
                if w.steps[cpu]:
                    self._reach(copy, (*path, paused), following)
            except (Violation, OutOfMemoryError):
                continue

    def _reach(self, oracle: Oracle, path: Path, following: list[Path]) -> None:
        """Note a world that was not seen before, and judge how a run would end in it."""
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
