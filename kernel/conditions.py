"""The options of the configuration that definitions of a file ask for: in their lines, and in the conditions around."""

import re
from collections.abc import Iterable
from typing import Final

_OPTION: Final = re.compile(r"\bCONFIG_(\w+)")
_DIRECTIVE: Final = re.compile(r"[ \t]*#[ \t]*(if|el|end)\w*(.*)")


def asked_options(source: str, spans: Iterable[tuple[int, int]]) -> set[str]:
    """Return the options, without CONFIG_, that decide about definitions of a file.

    `spans`: the numbers of the first and of the last line of each definition.
    """
    lines = source.split("\n")
    around, conditions = _around(lines)
    asked: set[str] = set()
    seen = {0}
    for first, last in spans:
        for line in range(first, min(last, len(lines)) + 1):
            asked.update(_OPTION.findall(lines[line - 1]))
            condition = around[line]
            while condition not in seen:
                seen.add(condition)
                condition, options = conditions[condition]
                asked.update(options)
    return asked


def _around(lines: list[str]) -> tuple[list[int], list[tuple[int, list[str]]]]:
    """Return the number of the innermost condition around each line, and for each condition the one around it, with
    the options that it asks for. 0 is none. Each alternative is a condition of its own, inside of those before it.
    """
    conditions: list[tuple[int, list[str]]] = [(0, [])]
    around = [0]
    stack = [0]
    for line in lines:
        directive = _DIRECTIVE.match(line)
        if directive:
            word, condition = directive.groups()
            if word == "end":
                del stack[max(len(stack) - 1, 1) :]
            else:
                conditions.append((stack[-1], _OPTION.findall(condition)))
                stack.append(len(conditions) - 1)
                if word == "el" and len(stack) > 2:
                    del stack[-2]
        around.append(stack[-1])
    return around, conditions
