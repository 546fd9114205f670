"""Operations that begin and end: the history records them, and the contract of calls judges them (C7)."""

from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from shootdown.contract.calls import call_of
from shootdown.contract.contract import Contract
from shootdown.machine.geometry import PAGES
from shootdown.mm.state import MMS
from shootdown.mm.world import World
from shootdown.reference.history import History
from shootdown.run.oracle.violation import Violation
from shootdown.scenario.kinds import KINDS

_CALLS: Final = [call_of(kind.name) for kind in KINDS]
"""The call of the contract that an operation makes, by the number of the operation."""


@mypyc_attr(allow_interpreted_subclasses=True)
class CallJudge(History):
    """The judge of the result of a call.

    `world`: the observed world.
    `contract`: the promises of its calls.
    `explained`: the CPUs, one bit each, whose fault in flight is a denial that was explained when the hardware raised
    it.
    """

    SHARED: ClassVar[frozenset[str]] = frozenset({"contract", "generation", "memory", "world"})
    __deletable__ = ["world"]  # noqa: RUF012 - what mypyc reads to compile `del`, a literal list

    contract: Contract
    explained: int
    world: World

    def attach(self, w: World) -> None:
        """Begin to observe a world that has not run yet."""
        self.world = w
        self.contract = Contract(w.steps, MMS, w.pages)
        self.explained = 0

    def detach(self) -> None:
        """Stop observing, and keep what was recorded.

        A world and its oracle that refer to each other wait for the garbage collector, which took a third of the time
        of a boot.
        """
        del self.world

    def began(self, cpu: int, number: int, page: int, count: int, arg: int) -> None:
        call = _CALLS[number]
        if call:
            w = self.world
            self.contract.began(cpu, call, w.task_mm[cpu], page, count, arg)

    def withdrawn(self, cpu: int) -> None:
        self.contract.withdrawn(cpu)

    def forked(self, cpu: int, child: int) -> None:
        self.contract.forked(cpu, child)

    def close(self, cpu: int) -> None:
        """Close the operation as History does, and end a fault of the CPU with its explanation."""
        if self.explained:
            self.explained &= ~(1 << cpu)
        # Not super(): its lookup of the method, twenty times per execution, took a hundredth of the time.
        History.close(self, cpu)
        contract = self.contract
        if contract.calls or contract.explained:
            reason = contract.closed(cpu)
            if reason:
                raise Violation(reason, self.world.task_mm[cpu] * PAGES, cpu, 0)

    def postponed(self, cpu: int, epoch: int) -> None:
        super().postponed(cpu, epoch)
        self.contract.postpone(cpu, epoch)

    def epoch_ended(self, epoch: int) -> None:
        super().epoch_ended(epoch)
        self.contract.epoch_ended(epoch)

    def warned(self, cpu: int, where: str) -> None:
        raise Violation("kernel-warning", self.world.task_mm[cpu] * PAGES, cpu, 0, where)

    def exited(self, mm: int) -> None:
        super().exited(mm)
        self.contract.exited(mm)
