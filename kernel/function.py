"""A compiled function of the text: its answer, and the line that decides it."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Final

from shootdown.kernel.compiler import places_of
from shootdown.kernel.decision import deciding_line
from shootdown.kernel.text import KernelError

BLOCKS: Final = 256
"""The number of recorded parts of a function, in the order of their execution."""
TRACE_NAME: Final = "<trace>"
"""The name of TRACE among the files of a text, which has none of that name."""
TRACE: Final = f"""
#line 1 "{TRACE_NAME}"
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
)
"""The options of the compiler for a function that records its execution, after TRACE has been added to its text."""


class Function:
    """A function of the text that is called with two entries.

    `places`: the functions of the text that take part, with their places.
    `header`, `content`: the name and the text, without comments, of the file that has the rule.
    `traced`: builds the same function again, in a form that records its execution.
    """

    def __init__(
        self,
        path: Path,
        symbol: str,
        name: str,
        places: dict[str, str],
        header: str,
        content: str,
        traced: Callable[[], Path],
    ) -> None:
        self.__name__ = name
        others = ", ".join(other for other in places if other != name)
        self.__doc__ = f"The C of {places[name]}" + (
            f", compiled with {others}." if others else "."
        )
        self._symbol = symbol
        self._call = _function(ctypes.CDLL(str(path)), symbol)
        self._header = header
        self._lines = content.split("\n")
        self._traced = traced

    def __call__(self, old: int, new: int) -> bool:
        """Return whether replacing the entry needs a flush."""
        answer: bool = self._call(old, new)
        return answer

    def branch(self, old: int, new: int) -> str:
        """Return the line of the text that decides about the change, as `file:line`, "" if it is not known."""
        try:
            path = self._traced()
        except KernelError:
            return ""
        library = ctypes.CDLL(str(path))
        library.shootdown_blocks_from_here()
        _function(library, self._symbol)(old, new)
        count = min(ctypes.c_uint.in_dll(library, "shootdown_blocks").value, BLOCKS)
        blocks = (ctypes.c_uint64 * BLOCKS).in_dll(library, "shootdown_block")
        # The functions with which the rule reads an entry are in other files.
        prefix = f"{self._header}:"
        executed = [
            (function, int(place.removeprefix(prefix)))
            for function, place in places_of(path, blocks[:count])
            if place.startswith(prefix)
        ]
        line = deciding_line(executed, self._lines)
        return f"{prefix}{line}" if line else ""


def _function(library: ctypes.CDLL, symbol: str) -> Callable[[int, int], bool]:
    function = library[symbol]
    function.argtypes = (ctypes.c_uint64, ctypes.c_uint64)
    function.restype = ctypes.c_bool
    return function
