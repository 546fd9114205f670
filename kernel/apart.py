"""A first call of a rule, in a process of its own: one that traps or does not return must not take this one along."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shootdown.kernel.limited import TimedOut, run_limited
from shootdown.kernel.text import KernelError, printable

_SECONDS: Final = 10
"""A rule answers in a fraction of a microsecond, and is asked some ten thousand times here."""
_PROGRAM: Final = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
page = 5 << 12 | 0x67
entries = [0, page, page ^ 1, page ^ 0x101, *(page ^ 1 << bit for bit in range(64))]
for symbol in sys.argv[2:]:
    rule = library[symbol]
    rule.argtypes = (ctypes.c_uint64, ctypes.c_uint64)
    for old in entries:
        for new in entries:
            print(hex(old), hex(new), file=sys.stderr, flush=True)
            rule(old, new)
"""


def ask_apart(library: Path, symbols: Sequence[str]) -> None:
    """Ask the functions about entries that differ in each bit.

    Errors: KernelError, when one does not return, or ends the process, with the entries that it was asked about.
    """
    command = [sys.executable, "-I", "-c", _PROGRAM, str(library), *symbols]
    try:
        done = run_limited(command, library.parent, _SECONDS)
    except TimedOut as error:
        raise KernelError(f"The rule does not return for {_asked(error.err)}.") from None
    if done.code < 0:
        name = signal.Signals(-done.code).name
        raise KernelError(f"The rule ends with {name} for {_asked(done.err)}.")
    if done.code:
        raise KernelError(f"What gcc has made does not load: {printable(_last(done.err))}.")


def _asked(printed: str) -> str:
    return (_last(printed) or "its first entries").replace(" ", " -> ")


def _last(printed: str) -> str:
    return printed.strip().rpartition("\n")[2]
