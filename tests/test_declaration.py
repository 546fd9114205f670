"""The declaration of an operation: everything that is forgotten or mistyped fails when the module is imported."""

from collections.abc import Iterator

import pytest

from building.operations import page
from shootdown.contract.calls import call_of
from shootdown.fuzz.inputs.race_round import MEETS
from shootdown.fuzz.inputs.race_round import OPERATIONS as CALLS
from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.declaration import DECLARED, Lock, Operation, Thread
from shootdown.mm.operations import BY_NAME, OPERATIONS
from shootdown.mm.step import step
from shootdown.mm.world import World
from shootdown.scenario import kinds
from tests.test_repository import ROOT


def start(w: World, cpu: int, page: int, count: int, arg: int) -> None:
    """Begin nothing."""


GIVEN: dict[str, object] = {
    "number": 200,
    "name": "nothing",
    "start": start,
    "summary": "do nothing",
    "pages": "one",
    "argument": NO_ARGUMENT,
    "thread": Thread.USER,
    "lock": Lock.READ,
    "access": False,
    "rank": 5,
    "weight": 1,
    "layouts": (),
    "needs": (),
    "shares": (),
    "holds_page": False,
    "simpler_as": (),
}


@pytest.fixture(autouse=True)
def _only_those_of_the_kernel() -> Iterator[None]:
    """Remove what a test has declared."""
    before = list(DECLARED)
    yield
    DECLARED[:] = before


def declared(**fields: object) -> Operation:
    """Declare an operation with other values in these fields."""
    declare: type = Operation
    made: Operation = declare(**(GIVEN | fields))
    return made


def test_given_is_a_whole_declaration() -> None:
    """With every field an operation is declared, and nothing else is a field."""
    assert declared() in DECLARED
    with pytest.raises(TypeError, match=r"colour|keyword argument"):
        declared(name="another", number=201, colour="red")


@pytest.mark.parametrize("field", GIVEN)
def test_a_forgotten_field_fails(field: str) -> None:
    """The message names the field."""
    declare: type = Operation
    with pytest.raises(TypeError, match=field):
        declare(**{name: value for name, value in GIVEN.items() if name != field})


@pytest.mark.parametrize("field", ["number", "name"])
def test_numbers_and_names_are_its_own(field: str) -> None:
    """A number or a name of another operation is refused, with both names."""
    with pytest.raises(ValueError, match=r"has a number or a name of revoke \(34\)"):
        declared(**{field: getattr(BY_NAME["revoke"], field)})


def test_a_mistyped_point_fails() -> None:
    """A step that pauses at an unknown point is refused, with a list of the points."""
    mistyped: str = "comit"
    decorate = step
    with pytest.raises(ValueError, match=r"pauses at 'comit', which is no point \(lock, change"):
        decorate("ptep_modify_prot_commit", mistyped)  # type: ignore[arg-type]  # that is the mistake


def test_every_kind_is_an_operation_or_a_choice() -> None:
    """Numbers have no gap: three are choices of the schedule and the hardware, the others are declared."""
    names = [kind.name for kind in kinds.KINDS]
    assert set(names) == {each.name for each in OPERATIONS} | {"run", "fill", "evict"}
    assert all(names[each.number] == each.name for each in OPERATIONS)


def test_the_contract_speaks_of_every_kind() -> None:
    """It says of each what it changes for a program, and of an unknown one that it does not."""
    assert all(call_of(kind.name) >= 0 for kind in kinds.KINDS)
    with pytest.raises(
        ValueError, match=r"contract/calls\.py does not say whether nothing changes"
    ):
        call_of("nothing")


def test_who_holds_mmap_lock_for_writing_meets_those_without_it() -> None:
    """An operation in flight meets those that can move at the same time: with mmap_lock held for writing, those without
    it.
    """
    holding = {number: BY_NAME[kinds.KINDS[number].name].lock for number in CALLS}
    assert {Lock.WRITE, Lock.NONE, Lock.READ} <= set(holding.values())
    for number, lock in holding.items():
        met = {holding[other] for other in MEETS[number]}
        if lock in {Lock.WRITE, Lock.ALONE}:
            assert met == {Lock.NONE}
        elif lock in {Lock.NONE, Lock.VMA}:
            assert met == set(holding.values())
        else:
            assert not met & {Lock.WRITE, Lock.WRITE_THEN_READ, Lock.ALONE}


def test_the_page_of_operations_is_of_these() -> None:
    """docs/operations.md is what `python -m building.operations` prints."""
    assert (ROOT / "docs" / "operations.md").read_text() == page()
