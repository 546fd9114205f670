"""A CPU that waits in a kernel's own text does not keep the others from what it waits for."""

from pathlib import Path

import pytest

from shootdown.policy.source import load_policy
from shootdown.run.execute import execute
from shootdown.scenario import parse
from shootdown.scenario.verdict import LEGAL
from tests.trees import TREES

TRANSITION = """shootdown-scenario 1
cpus 3
pages 1
layout private
machine invlpgb
asids 2

cpu1 write p0
cpu1 mprotect p0 r
cpu0 switch mm0
cpu1 switch mm0
cpu2 poke p0 until cr3
cpu1 mprotect p0 rw until flush
cpu0 munmap p0
"""
"""CPU 0 waits for the mmap_lock of CPU 1, which waits in finish_asid_transition for the switch of CPU 2."""


@pytest.mark.parametrize("tree", TREES)
def test_a_spinning_cpu_is_blocked(tree: Path) -> None:
    """The step after cpu_relax is no progress, so CPU 2 comes to its turn and the run ends."""
    policy = load_policy(f"c:{tree.resolve()}").policy
    assert execute(parse(TRANSITION).scenario, policy.make()).verdict == LEGAL
