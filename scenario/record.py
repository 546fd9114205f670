"""The scenario in memory: plain tuples of integers, because the models execute it directly."""

from typing import NamedTuple, TypeAlias

Record: TypeAlias = tuple[int, int, int, int, int, int]
"""`(kind, cpu, run, page, count, arg)`, with the values that `scenario.kinds` lists.

A record is canonical when each field is below its limit and each field that the kind does not use
is 0 (`count`: 1). It is a plain tuple, not a named one: unpacking is as readable, and building it for each record of
each execution costs a third.
"""


class Header(NamedTuple):
    """The world that a scenario starts from."""

    cpus: int
    """Number of CPUs, 1 to 8."""
    pages: int
    """Number of virtual pages in each address space, 1 to 8."""
    layout: int = 0
    """Index into `kinds.LAYOUTS`: what address space 0 has mapped."""
    machine: int = 0
    """Bit set of `switches.SWITCHES`."""
    asids: int = 1
    """Number of dynamic address-space identifiers of each CPU, 1 to 6."""
    batch: int = 1
    """Number of pages that one gather batch holds, 1 to 4."""


class Scenario(NamedTuple):
    """All choices of one execution: the same scenario and policy give the same trace."""

    header: Header
    records: tuple[Record, ...]
