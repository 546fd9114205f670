"""The contract: the effect of userfaultfd and protection keys on a page."""

from shootdown.contract.calls import (
    FREE,
    MREMAP,
    MUNMAP,
    PKEY_MPROTECT,
    PROTECT,
    REGISTER,
    RESOLVE,
    WRPKRU,
)
from shootdown.contract.contract import ACCESS_OUTSIDE, DENIED_INSIDE, FINE, NOT_TRAPPED, TRAPPED
from shootdown.contract.effects import MAP_FILE, MAP_SHARED
from shootdown.machine.pkru import NO_ACCESS
from tests.program import RW, Program, R, W, X


def test_mremap_of_several_regions_with_a_registered_one() -> None:
    """If the first is registered with userfaultfd nothing moves; if a later one is, what comes before it does."""
    program = Program(pages=3)
    program.call(REGISTER, page=1)
    program.call(MREMAP, page=1, count=2, arg=4)
    assert program.load(page=1) == FINE
    program.call(MREMAP, page=0, count=2, arg=4)
    assert program.load(page=4) == FINE
    assert program.load(page=1) == FINE


def test_a_write_protected_page_traps() -> None:
    """A store to a page that has content is reported after UFFDIO_WRITEPROTECT, and succeeds after it is resolved."""
    program = Program()
    program.store(value=1)
    program.call(REGISTER)
    assert program.trapped() == TRAPPED
    program.call(PROTECT)
    assert program.trapped() == FINE
    assert program.store() == NOT_TRAPPED
    program.call(RESOLVE)
    assert program.trapped() == TRAPPED
    assert program.store() == FINE


def test_write_protection_in_flight_may_be_met_or_not() -> None:
    """While it is in flight a store succeeds or is reported."""
    program = Program()
    program.store(value=1)
    program.call(REGISTER)
    program.open(0, PROTECT)
    assert program.store(value=2) == FINE
    assert program.trapped() == FINE
    program.end(0)
    assert program.store(value=3) == NOT_TRAPPED


def test_write_protection_of_a_range_stops_at_what_is_not_registered() -> None:
    """Holes are skipped, and the pages before the first region that is not registered are protected."""
    program = Program(pages=4)
    for page in range(4):
        program.store(page=page, value=page + 1)
    program.call(REGISTER, page=0, count=3)
    program.call(MUNMAP, page=1)
    program.call(PROTECT, count=4)
    assert program.store(page=0) == NOT_TRAPPED
    assert program.store(page=2) == NOT_TRAPPED
    assert program.store(page=3) == FINE


def test_a_private_page_without_content_may_stay_unprotected() -> None:
    """Nothing may be mapped there; in shared memory a marker stands for the page."""
    program = Program()
    program.call(REGISTER)
    program.call(PROTECT)
    assert program.store() == FINE
    shared = Program(kind=MAP_SHARED)
    shared.call(REGISTER)
    shared.call(PROTECT)
    assert shared.store() == NOT_TRAPPED


def test_a_range_with_a_file_is_not_registered() -> None:
    """UFFDIO_REGISTER is refused with no effect (EINVAL)."""
    program = Program(kind=MAP_FILE)
    program.call(REGISTER)
    assert program.trapped() == TRAPPED


def test_a_key_denies_by_pkru() -> None:
    """A key denies loads and stores as the CPU's PKRU says, never a fetch."""
    program = Program(prot=RW | X)
    program.call(PKEY_MPROTECT, arg=RW | X | 1 << 3)
    denying = NO_ACCESS << 2
    assert program.load(pkru=denying) == ACCESS_OUTSIDE
    assert program.load(kind=X, pkru=denying) == FINE
    assert program.load(pkru=0) == FINE


def test_wrpkru_is_the_threads() -> None:
    """It holds for the thread's own accesses, and ends with its address space."""
    program = Program()
    program.call(PKEY_MPROTECT, arg=RW | 1 << 3)
    program.call(WRPKRU, arg=0)
    assert program.contract.access(0, 0, R, 0) == ACCESS_OUTSIDE
    assert program.contract.access(1, 0, R, 0) == FINE
    program.call(WRPKRU, arg=1)
    assert program.contract.access(0, 0, R, 0) == FINE
    assert program.contract.access(0, 0, W, 1) == ACCESS_OUTSIDE
    program.contract.exited(0)
    assert not program.contract.pkru


def test_a_denial_by_an_old_key_is_explained_when_it_is_raised() -> None:
    """The handler may reach the fault only after the call that has changed the key has returned."""
    program = Program()
    program.call(PKEY_MPROTECT, arg=RW | 1 << 3)
    denying = NO_ACCESS << 2
    program.contract.pkru[(3, 0)] = denying
    program.contract.hardware_denied(3, 0, R)
    program.call(PKEY_MPROTECT, arg=RW)
    assert program.contract.denied(3, 0, R, RW) == FINE
    program.contract.closed(3)
    assert program.contract.denied(3, 0, R, RW) == DENIED_INSIDE


def test_a_page_that_was_let_go_may_lose_its_mark() -> None:
    """Reclaim may drop it even after an event, and what is mapped then is not write-protected."""
    program = Program()
    program.store(value=1)
    program.call(FREE)
    program.call(REGISTER)
    program.call(PROTECT)
    assert program.trapped() == FINE
    assert program.store(value=2) == FINE


def test_a_page_that_is_let_go_meanwhile_may_lose_its_mark() -> None:
    """MADV_FREE runs during the write-protection, and reclaim runs after both."""
    program = Program()
    program.store(value=1)
    program.call(REGISTER)
    program.open(0, PROTECT)
    program.begin(1, FREE)
    program.move(1)
    program.end(1)
    program.end(0)
    assert program.store(value=2) == FINE
