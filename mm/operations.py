"""The operations that a scenario can start on a CPU."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Final

import shootdown.mm
from shootdown.mm.context import leave_lazy
from shootdown.mm.declaration import DECLARED, Operation
from shootdown.mm.world import World

# Import every module of mm/, because each may declare operations.
for _module in iter_modules(shootdown.mm.__path__):
    if _module.name != Path(__file__).name.partition(".")[0]:
        import_module(f"shootdown.mm.{_module.name}")

OPERATIONS: Final[tuple[Operation, ...]] = tuple(sorted(DECLARED, key=lambda each: each.number))
BY_NAME: Final[dict[str, Operation]] = {each.name: each for each in OPERATIONS}
BY_NUMBER: Final[dict[int, Operation]] = {each.number: each for each in OPERATIONS}

for _each in OPERATIONS:
    _unknown = {*_each.needs, *_each.simpler_as} - BY_NAME.keys()
    if _unknown:
        _message = (
            f"{_each.name} declares {', '.join(sorted(_unknown))}, which no operation is called"
        )
        raise ValueError(_message)


def begin(w: World, cpu: int, operation: Operation, page: int, count: int, arg: int) -> None:
    """Start an operation on an idle CPU."""
    w.op[cpu] = operation.number
    w.op_page[cpu] = page
    operation.start(w, cpu, page, count, arg)
    if not operation.access:
        w.observer.began(cpu, operation.number, page, count, arg)
    if w.kthread[cpu] and not operation.kernel:
        leave_lazy(w, cpu)
