"""The line of a rule that decides, by the lines that an execution of the rule has gone through."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

_BOUNDARY: Final = re.compile(r"[;{}:]\s*$|^\s*#")
_OTHER: Final = re.compile(r"\s*(?:if|for|while|switch|else|do|case)\b")
_RETURN: Final = re.compile(r"\breturn\b")


@dataclass
class Call:
    """An execution of a function: the numbers of its lines, and the calls that it has made, in their order."""

    function: str
    steps: "list[int | Call]" = field(default_factory=list)


def deciding_line(executed: Iterable[tuple[str, int]], lines: Sequence[str]) -> int:
    """Return the number of the line whose `return` gives the rule's answer, 0 if nothing was executed.

    A return of what another function of the file answers is that function's.
    `executed`: the function and the line of each part of the code, in the order of execution.
    `lines`: the file, without comments.
    """
    outermost = _calls_in(executed)
    line = 0
    call: Call | None = outermost
    while call is not None:
        line, call = _decided(call, lines)
    return line


def _calls_in(executed: Iterable[tuple[str, int]]) -> Call | None:
    """Return the outermost call. A function that is entered again while it runs has been returned to."""
    stack: list[Call] = []
    for function, line in executed:
        running = [call.function for call in stack]
        if function in running:
            del stack[running.index(function) + 1 :]
        else:
            call = Call(function)
            if stack:
                stack[-1].steps.append(call)
            stack.append(call)
        stack[-1].steps.append(line)
    return stack[0] if stack else None


def _decided(call: Call, lines: Sequence[str]) -> tuple[int, Call | None]:
    """Return the line that gives the answer of a call, and the call whose answer it is, if it is one."""
    own = [step for step in call.steps if isinstance(step, int)]
    returned = next((at for at, line in enumerate(own) if _returns(line, lines)), len(own) - 1)
    # gcc gives the common end of several returns the line of the last one, which has not been reached if a statement
    # in one line, as `if (x) return true;`, comes before it.
    if 0 < returned == len(own) - 1 and _RETURN.search(lines[own[returned - 1] - 1]):
        returned -= 1
    line = own[returned]
    inner: Call | None = None
    at = -1
    for step in call.steps:
        if isinstance(step, int):
            at += 1
        elif at >= returned:
            inner = step
    return line, inner


def _returns(line: int, lines: Sequence[str]) -> bool:
    """Return whether a line is of a statement that begins with `return`."""
    for at in range(line - 1, -1, -1):
        text = lines[at] if at < len(lines) else ""
        if text.lstrip().startswith("return"):
            return True
        before = lines[at - 1] if at else ""
        if _OTHER.match(text) or _BOUNDARY.search(before) or not before.strip():
            return False
    return False
