"""A compiled function of the text: its answer, and the line that gives it."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Final

from shootdown.kernel.compiler import places_of
from shootdown.kernel.text import RULE_HEADER, KernelError

BLOCKS: Final = 256
"""Of the parts of a function that are executed one after the other, how many are noted."""
TRACE: Final = f"""
#line 1 "trace"
extern const char __ehdr_start[];
__attribute__((visibility("default"))) unsigned long shootdown_block[{BLOCKS}];
__attribute__((visibility("default"))) unsigned int shootdown_blocks;
__attribute__((visibility("default"), no_sanitize_coverage)) void shootdown_blocks_from_here(void)
{{
	shootdown_blocks = 0;
}}
__attribute__((no_sanitize_coverage)) void __sanitizer_cov_trace_pc(void)
{{
	if (shootdown_blocks < {BLOCKS})
		shootdown_block[shootdown_blocks++] =
			(unsigned long)__builtin_return_address(0) - (unsigned long)__ehdr_start - 1;
}}
"""
TRACED: Final = (
    "-O0",
    "-g",
    "-fsanitize-coverage=trace-pc",
    "-DSHOOTDOWN_TRACED",
    "-o",
    "traced.so",
    "traced.c",
)
"""Options of the compiler for a function that notes what it executes, after TRACE has been added to its text."""


class Function:
    """A function of the text, called with two entries.

    `header` is the file that has the rule; `traced` builds the same function once more, so that it notes what it
    executes.
    """

    def __init__(
        self, path: Path, symbol: str, name: str, header: str, traced: Callable[[], Path]
    ) -> None:
        self.__name__ = name
        self._symbol = symbol
        self._call = _function(ctypes.CDLL(str(path)), symbol)
        self._lines = header.splitlines()
        self._traced = traced

    def __call__(self, old: int, new: int) -> bool:
        """Return whether replacing the entry needs a flush."""
        answer: bool = self._call(old, new)
        return answer

    def branch(self, old: int, new: int) -> str:
        """Return the line of the text that decides about the change, as `file:line`, "" where it cannot be told."""
        try:
            path = self._traced()
        except KernelError:
            return ""
        library = ctypes.CDLL(str(path))
        library.shootdown_blocks_from_here()
        _function(library, self._symbol)(old, new)
        count = min(ctypes.c_uint.in_dll(library, "shootdown_blocks").value, BLOCKS)
        blocks = (ctypes.c_uint64 * BLOCKS).in_dll(library, "shootdown_block")
        places = [
            (function, place)
            for function, place in places_of(path, blocks[:count])
            if place.startswith(RULE_HEADER)
        ]
        # What the rule calls to read an entry stands in other files. Of its own functions the one that is entered last
        # decides; what comes after it returns what it has said.
        entered = list(dict.fromkeys(function for function, _ in places))
        last = [place for name, place in places if name == entered[-1]]
        # gcc gives the common end of several returns the line of the last of them.
        if len(last) > 1 and "return" in self._line(last[-2]):
            last.pop()
        return last[-1] if last else ""

    def _line(self, place: str) -> str:
        number = place.rpartition(":")[2]
        return self._lines[int(number) - 1] if number.isdecimal() else ""


def _function(library: ctypes.CDLL, symbol: str) -> Callable[[int, int], bool]:
    function = library[symbol]
    function.argtypes = (ctypes.c_uint64, ctypes.c_uint64)
    function.restype = ctypes.c_bool
    return function
