"""The switches of a machine: the machine, the campaigns and the comparisons follow the declaration of each."""

from random import Random

import pytest

from shootdown.conform.qemu.campaign import SETTINGS
from shootdown.conform.qemu.sides import MAY_DROP
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import boot
from shootdown.scenario.record import Header
from shootdown.scenario.switches import DECLARED, Subject, Switch, keywords_of, names_of


def booted(machine: int) -> dict[str, object]:
    """Return the attributes of a machine and a kernel that have just booted, except those that are not plain values."""
    world, _ = boot(Header(1, 1, machine=machine), REGISTRY["linux"].make())
    # Not __slots__: a compiled class has none.
    return {
        name: getattr(owner, name)
        for owner in (world, world.machine)
        for name in dir(owner)
        if isinstance(getattr(owner, name, None), int)
    }


def test_a_declaration_is_whole() -> None:
    """No field has a default, and no word and no parameter belongs to two switches."""
    assert Switch._field_defaults == {}
    assert len({each.name for each in DECLARED}) == len(DECLARED)
    keywords = [each.keyword for each in DECLARED if each.keyword]
    assert len(set(keywords)) == len(keywords)


@pytest.mark.parametrize("switch", DECLARED, ids=lambda each: each.name)
def test_each_switch_is_an_attribute(switch: Switch) -> None:
    """A machine or a kernel that boots with a switch differs in exactly one attribute."""
    plain, chosen = booted(0), booted(switch.bit)

    assert len({name for name in plain if plain[name] != chosen[name]}) == 1
    assert (switch.subject is Subject.KERNEL) == (not switch.keyword)
    assert [*keywords_of(switch.bit)] == ([switch.keyword] if switch.keyword else [])


def test_all_switches_together() -> None:
    """A set of switches has the words of all its members, in their order."""
    assert names_of(sum(each.bit for each in DECLARED)) == [each.name for each in DECLARED]


def test_campaigns_draw_every_real_machine() -> None:
    """Each switch is on in some of a thousand random scenarios, except those that no machine has."""
    drawn = 0
    for seed in range(1000):
        drawn |= random_scenario(Random(seed), 8).header.machine

    assert names_of(drawn) == [each.name for each in DECLARED if each.real]


@pytest.mark.parametrize(
    "switch",
    [each for each in DECLARED if each.subject in (Subject.FAULT, Subject.CACHES)],
    ids=lambda each: each.name,
)
def test_a_switch_that_qemu_could_contradict_is_compared(switch: Switch) -> None:
    """Some comparison with QEMU's MMU has the switch on, and some has it off."""
    sets = [setting.machine for setting in SETTINGS[MAY_DROP]]

    assert {bool(machine & switch.bit) for machine in sets} == {True, False}
