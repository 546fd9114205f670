"""A program whose calls and accesses a test makes by hand, so that the contract judges them."""

from shootdown.contract.contract import Contract
from shootdown.machine.entry import EXEC, READ, WRITE

R, W, X = READ, WRITE, EXEC
RW = R | W


class Program:
    """Two address spaces, of which the first has `pages` mapped, and CPUs that make calls by hand."""

    def __init__(self, prot: int = RW, kind: int = 0, pages: int = 2) -> None:
        self.steps: list[list[tuple[int, ...]]] = [[] for _ in range(4)]
        self.contract = Contract(self.steps, 3, 8)
        self.contract.map_at_boot(pages, prot, kind)

    def begin(self, cpu: int, kind: int, page: int = 0, count: int = 1, arg: int = 0) -> None:
        """Begin a call, which waits for its first lock."""
        self.steps[cpu] = self.steps[cpu] or []
        self.steps[cpu].append((kind,))
        self.contract.began(cpu, kind, 0, page, count, arg)

    def move(self, cpu: int) -> None:
        """Let the call make its first step, which leaves another one."""
        self.steps[cpu][0] = (0,)

    def end(self, cpu: int) -> None:
        """Let the call return."""
        self.steps[cpu].clear()
        self.contract.closed(cpu)

    def call(self, kind: int, page: int = 0, count: int = 1, arg: int = 0) -> None:
        """Make a call from its begin to its return, without other accesses."""
        self.begin(0, kind, page, count, arg)
        self.move(0)
        self.end(0)

    def open(self, cpu: int, kind: int, page: int = 0, count: int = 1, arg: int = 0) -> None:
        """Begin a call, and let it make a step."""
        self.begin(cpu, kind, page, count, arg)
        self.move(cpu)

    def load(
        self, page: int = 0, value: int = 0, *, kind: int = R, mm: int = 0, pkru: int = 0
    ) -> str:
        """Judge a load, or a fetch, that has shown the value."""
        self.contract.pkru[(2, mm)] = pkru
        return self.contract.access(2, mm * 8 + page, kind, value)

    def store(self, page: int = 0, value: int = 1, *, mm: int = 0) -> str:
        """Judge a store."""
        return self.contract.access(3, mm * 8 + page, W, value)

    def denied(self, page: int = 0, kind: int = R, reported: int = -1) -> str:
        """Judge a signal; `reported` is the region that the handler saw."""
        return self.contract.denied(3, page, kind, reported)

    def trapped(self, page: int = 0) -> str:
        """Judge an event of userfaultfd."""
        return self.contract.trapped(page)
