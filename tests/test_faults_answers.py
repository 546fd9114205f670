"""Faults that are data: one decision of the machinery replaced by a constant."""

import pytest

from shootdown.optimized.faults.answers import answering
from shootdown.optimized.latr import LatrFlush
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.strategy import GatherFlush


def test_a_method_answers_what_it_is_given() -> None:
    """The named method returns the constant; every other method is that of the base."""
    strategy = answering(LatrFlush, is_put_off=False, asks_unlocked=True)

    assert issubclass(strategy, LatrFlush)
    assert strategy.is_put_off is not LatrFlush.is_put_off
    assert strategy.tick is LatrFlush.tick


def test_a_decision_that_there_is_not_is_refused() -> None:
    """A mistyped name fails where the fault is declared."""
    with pytest.raises(AttributeError, match="is_nestled"):
        answering(is_nestled=False)


def test_faults_leave_their_base_as_it_is() -> None:
    """A dozen faults are such data, and every other policy still has the replaced method."""
    made = [
        policy.strategy for policy in REGISTRY.values() if "Answering" in policy.strategy.__name__
    ]

    assert len(made) >= 10
    assert GatherFlush not in made
    assert LatrFlush not in made
    assert REGISTRY["linux"].strategy is GatherFlush
