"""One hunk of a patch, of which only what it shows whole is kept; everything else becomes empty lines.

A hunk begins and ends anywhere: inside a comment, a condition, a function or a macro. Of what is at its edges one half
is not there, and a half of a function would be another function.
"""

import re
from collections.abc import Iterator
from typing import Final

from shootdown.kernel.items import is_function

GAP: Final = "lines_that_the_patch_does_not_show"
"""What stands at the end of a definition whose last lines are not in the hunk: the compiler refuses it by this name."""
_COMMENT: Final = re.compile(
    r"""//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?""", re.DOTALL
)
_LITERAL: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|\'(?:[^\'\\]|\\.)*\'?')
_DIRECTIVE: Final = re.compile(r"\s*#\s*(\w*)")
_BRACKET: Final = re.compile(r"[{}()\[\]]")
_CLOSING: Final = {"{": ";}", "(": ")", "[": "]"}
_BEGINNING: Final = re.compile(r"[A-Za-z_]")
"""The beginning of a line that is the first one of a definition: other lines are indented."""
_STATEMENT: Final = re.compile(
    r"\w+\s*:|(?:case|default|else|return|goto|break|continue|if|for|while|do|switch)\b"
)
"""The beginning of a line that is a statement even if it is not indented."""


def shown_whole(lines: list[str]) -> tuple[list[str], int]:
    """Return as many lines, with the definitions that the hunk shows from their beginning to their end, and the number
    of conditions that do not end in them.

    A definition whose end is not shown ends with GAP. A condition whose #if is not shown counts as true.
    """
    kept = _without_comments("\n".join(lines)).split("\n")
    unended = _balance(kept, _directives(kept))
    _cut(kept, _directives(kept))
    return kept, unended


def _without_comments(text: str) -> str:
    opened, closed = text.find("/*"), text.find("*/")
    if closed >= 0 and not 0 <= opened < closed:
        text = _emptied(text[: closed + 2]) + text[closed + 2 :]
    return _COMMENT.sub(lambda found: _emptied(found[0]) if found[0][0] == "/" else found[0], text)


def _emptied(text: str) -> str:
    return " " + "\n" * text.count("\n")


def _directives(lines: list[str]) -> dict[int, tuple[int, str]]:
    """Return, by the number of its first line, the end of each directive and its name."""
    found: dict[int, tuple[int, str]] = {}
    at = 0
    while at < len(lines):
        directive = _DIRECTIVE.match(lines[at])
        end = at + 1
        while end < len(lines) and lines[end - 1].rstrip().endswith("\\"):
            end += 1
        if directive:
            found[at] = end, directive[1]
        at = end
    return found


def _balance(lines: list[str], directives: dict[int, tuple[int, str]]) -> int:
    """Empty the alternatives to parts whose #if is not shown; return the number of conditions that are open then."""
    depth, alternative = 0, -1
    for at, (end, name) in directives.items():
        if name in ("if", "ifdef", "ifndef"):
            depth += 1
        elif depth and name == "endif":
            depth -= 1
        elif not depth and name.startswith("el") and alternative < 0:
            alternative = at
        elif not depth and name == "endif":
            _empty(lines, alternative if alternative >= 0 else at, end)
            alternative = -1
    if alternative >= 0:
        _empty(lines, alternative, len(lines))
        return 0
    return depth


def _cut(lines: list[str], directives: dict[int, tuple[int, str]]) -> None:
    """Empty the definitions that begin before the lines, and end those that end after them."""
    start, outside, stack = -1, False, list[str]()
    head, body, function = "", False, False
    at = emptied = 0
    while at < len(lines):
        if at in directives:
            end, name = directives[at]
            if lines[end - 1].rstrip().endswith("\\"):
                _cut_macro(lines, at, end, name)
            at = end
            continue
        plain = _LITERAL.sub('""', lines[at])
        begins = _BEGINNING.match(plain) and not _STATEMENT.match(plain)
        if begins and outside and start >= 0 and not stack:
            # The rest of a macro has no end of its own.
            _empty_code(lines, start, at, directives)
            start = -1
        if start < 0 and plain.strip():
            start = at
            outside = not begins
            head, body, function = "", False, False
        if start >= 0 and not body:
            before, body_begins, _ = plain.partition("{")
            head += before + " "
            body = bool(body_begins)
            function = body and is_function(head)
        for bracket in _BRACKET.findall(plain):
            if bracket in _CLOSING:
                stack.append(bracket)
            elif stack:
                stack.pop()
            else:
                # All that came before is inside of what ends here.
                _empty_code(lines, emptied, at, directives)
                start, outside, emptied = at, True, at
        last = plain.rstrip()[-1:]
        if start >= 0 and not stack and (last == ";" or (last == "}" and (outside or function))):
            if outside:
                _empty_code(lines, start, at + 1, directives)
            start, outside = -1, False
        at += 1
    if start < 0:
        return
    if outside:
        _empty_code(lines, start, len(lines), directives)
    else:
        # Not in the last line, which may be a directive.
        closing = "".join(_CLOSING[bracket] for bracket in reversed(stack))
        code = _code(lines, start, len(lines), directives)
        lines[max(at for at in code if lines[at].strip())] += f" {GAP} {closing};"


def _cut_macro(lines: list[str], at: int, end: int, name: str) -> None:
    first = lines[at].rstrip().removesuffix("\\")
    _empty(lines, at, end)
    if name == "define":
        lines[at] = f"{first} {GAP}"


def _empty_code(
    lines: list[str], start: int, end: int, directives: dict[int, tuple[int, str]]
) -> None:
    for at in _code(lines, start, end, directives):
        lines[at] = ""


def _code(
    lines: list[str], start: int, end: int, directives: dict[int, tuple[int, str]]
) -> Iterator[int]:
    """Yield the numbers of the lines that are no directives."""
    at = start
    while at < min(end, len(lines)):
        if at in directives:
            at = directives[at][0]
        else:
            yield at
            at += 1


def _empty(lines: list[str], start: int, end: int) -> None:
    lines[start:end] = [""] * (end - start)
