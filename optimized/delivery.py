"""The decisions of the delivery of a flush: the CPUs that it interrupts, and its effect on them (linux-tlb B.3)."""

from mypy_extensions import mypyc_attr

from shootdown.mm.world import World
from shootdown.optimized.flush_func import NO_GENERATION
from shootdown.optimized.shootdown import should_flush_tlb


@mypyc_attr(allow_interpreted_subclasses=True)
class DeliveryStrategy:
    """The part optimized.flush_func.Delivery; the steps that use it are there, in optimized.shootdown and .switch."""

    def should_interrupt(self, w: World, target: int, mm: int, *, freed_tables: bool) -> bool:
        """Return whether the flush interrupts a CPU of the mask: if tables were freed, every one, lazy ones too."""
        return freed_tables or should_flush_tlb(w, target, mm)

    def held_off(self, w: World, target: int) -> bool:
        """Return whether a flush waits for a CPU that has interrupts disabled, as an interrupt does."""
        return True

    def is_reached(self, generation: int, local: int) -> bool:
        """Return whether a context of generation `local` needs no flush of `generation`.

        A batch's flush has no generation, so it is always needed (8f1d56f64f8d).
        """
        return NO_GENERATION < generation <= local

    def partial_is_enough(self, generation: int, local: int, newest: int) -> bool:
        """Return whether invalidating the flush's own range brings the context up to date."""
        return generation == local + 1 and generation == newest

    def flush_recycled_asid(self) -> bool:
        """Return whether an ASID that is given to another address space is flushed."""
        return True

    def has_only_global_asids(self) -> bool:
        """Return whether every address space has a global ASID from the first time that it is loaded."""
        return False
