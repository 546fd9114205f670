"""The classes that answer what the memory manager asks of the optimized strategy: each part in the file of its name."""

from importlib import import_module

import pytest

from shootdown.mm.flush import Contexts, FlushStrategy
from shootdown.mm.world import World
from shootdown.optimized.contexts import ContextStrategy
from shootdown.optimized.delivery import DeliveryStrategy
from shootdown.optimized.flush_func import Delivery
from shootdown.optimized.strategy import GatherFlush
from shootdown.optimized.temporary import Temporary
from tests.kernel import Kernel
from tests.parts import methods, parts_of, word

PARTS = parts_of(FlushStrategy)
EVERY = set().union(*map(methods, PARTS))


@pytest.mark.parametrize("part", PARTS, ids=word)
def test_a_part_is_answered_in_the_file_of_its_name(part: type) -> None:
    """The class in the file answers the whole part, and nothing of another part."""
    module = import_module(f"shootdown.optimized.{word(part)}")
    (answering,) = (each for each in GatherFlush.__mro__ if each.__module__ == module.__name__)

    assert EVERY & vars(answering).keys() == methods(part)


def test_the_steps_of_a_flush_and_of_a_switch_find_their_decisions() -> None:
    """Delivery answers what they ask of a strategy, and contexts what a temporary address space asks."""
    assert methods(Delivery) <= vars(DeliveryStrategy).keys()
    assert methods(Temporary) | methods(Contexts) <= vars(ContextStrategy).keys()


def test_a_part_hears_what_a_subclass_replaces_of_another() -> None:
    """huge_pages records by `record` of gathers: an interpreted subclass replaces it, even if compiled."""
    recorded = []

    class Recorder(GatherFlush):
        def record(self, w: World, cpu: int, first: int, count: int) -> None:
            recorded.append((w.task_mm[cpu], first, count))

    strategy = Recorder(
        lambda _old, _new: True, lambda _old, _new: True, inline=False, report_spurious=False
    )
    strategy.huge_changed(Kernel().w, 0, 0, 4, 1, 0)

    assert recorded == [(0, 4, 4)]
