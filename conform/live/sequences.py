"""Random sequences of the operations that can be driven, each run to its end."""

from typing import Final

from shootdown.fuzz.inputs.draws import Draws
from shootdown.scenario import Header, Record, Scenario, kinds

DRIVEN: Final = (
    kinds.READ,
    kinds.WRITE,
    kinds.EXEC,
    kinds.COPY,
    kinds.MPROTECT,
    kinds.MUNMAP,
    kinds.MMAP,
    kinds.DONTNEED,
    kinds.FREE,
    kinds.FORK,
    kinds.UFFD_REGISTER,
    kinds.UFFD_WP,
    kinds.UFFD_UNWP,
    kinds.MREMAP,
    kinds.SWITCH,
    kinds.LAZY,
    kinds.AGE,
    kinds.CLEAR_REFS,
    kinds.WRITEBACK,
    kinds.PUNCH,
    kinds.COLLAPSE,
    kinds.EXIT,
)
"""Kinds of operation that a program can ask for, and that have one outcome."""

_WEIGHTS: Final = {kinds.READ: 12, kinds.WRITE: 12, kinds.EXEC: 5, kinds.MPROTECT: 5, kinds.MMAP: 4}
_LARGE: Final = 0.1
"""The share of sequences with huge pages: clearing 2 MiB takes as long as a hundred operations."""
_LAYOUTS: Final = (
    *(kinds.PRIVATE,) * 5,
    *(kinds.SHARED,) * 3,
    *(kinds.FILE,) * 2,
    kinds.READONLY,
    kinds.EMPTY,
)
_COUNTS: Final = (1, 1, 1, 2, 2, 3, 4, 8)


def random_sequence(draws: Draws, cpus: int, driven: tuple[int, ...], length: int) -> Scenario:
    """Return a scenario of `length` operations of driven kinds, followed by each kind of access to each page."""
    large = draws.random() < _LARGE
    pages = kinds.MAX_PAGES if large else draws.randrange(1, kinds.MAX_PAGES + 1)
    layout = kinds.HUGE if large else draws.choice(_LAYOUTS)
    if layout == kinds.FILE and kinds.WRITEBACK not in driven:
        layout = kinds.PRIVATE
    weighted = [kind for kind in driven for _ in range(_WEIGHTS.get(kind, 2))]
    file, executable = kinds.WRITEBACK in driven, kinds.EXEC in driven
    records = [
        _record(
            draws,
            draws.choice(weighted),
            cpus,
            pages,
            large=large,
            file=file,
            executable=executable,
        )
        for _ in range(length)
    ]
    records += [one for one in _audit(draws, cpus, pages) if one[0] in driven]
    return Scenario(Header(cpus, pages, layout, 0, 6, 4), tuple(records))


def _record(
    draws: Draws, kind: int, cpus: int, pages: int, *, large: bool, file: bool, executable: bool
) -> Record:
    _, used, _, argument, _ = kinds.KINDS[kind]
    cpu = draws.randrange(0, cpus)
    page = 0 if used == "none" else draws.randrange(0, pages)
    count = min(draws.choice(_COUNTS), pages - page) if used == "range" else 1
    values = pages if argument.of_pages else len(argument.names)
    arg = draws.randrange(0, values)
    if kind == kinds.MMAP:
        types = [kinds.MAP_PRIVATE, kinds.MAP_SHARED]
        types += [kinds.MAP_FILE] if file else []
        types += [kinds.MAP_HUGE] * 3 if large else []
        arg = arg & 7 | draws.choice(types) << kinds.MAP_SHIFT
    if not executable and kind in (kinds.MMAP, kinds.MPROTECT):
        arg &= ~kinds.PROT_EXEC
    return (kind, cpu, 0, page, count, arg)


def _audit(draws: Draws, cpus: int, pages: int) -> list[Record]:
    """Return records that look at everything the program has, on each CPU: loads twice, before and after stores."""
    loads = [(kinds.READ, cpu, 0, page, 1, 0) for cpu in range(cpus) for page in range(pages)]
    fetches = [(kinds.EXEC, draws.randrange(0, cpus), 0, page, 1, 0) for page in range(pages)]
    stores = [(kinds.WRITE, draws.randrange(0, cpus), 0, page, 1, 0) for page in range(pages)]
    return [*loads, *fetches, *stores, *loads]
