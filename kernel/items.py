"""The definitions in a piece of preprocessed C, each with its names, its file and its line.

The text comes from `cc -E -fdirectives-only`: conditions are decided, includes removed, lines joined; macros are still
there, as #define lines, and not expanded where they are used.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_IDENTIFIER: Final = re.compile(r"[A-Za-z_]\w*")
_MARKER: Final = re.compile(r'# (\d+) "((?:[^"\\]|\\.)*)"')
_DEFINE: Final = re.compile(r"\s*#\s*define\s+(\w+)")
_UNDEF: Final = re.compile(r"\s*#\s*undef\s+(\w+)")
# An open literal ends with its line, so that each text is gone through once.
_LITERAL: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"?|\'(?:[^\'\\\n]|\\.)*\'?')
_TOKEN: Final = re.compile(r"\w+|[^\s\w]")
_OPENING: Final = {"{": "}", "(": ")", "[": "]"}


@dataclass(frozen=True, slots=True)
class Item:
    """A macro, or a declaration or definition outside functions.

    `names`: the names that it defines.
    `text`: its text, which ends with a newline.
    `file`, `line`, `last`: its file, and its first and its last line there.
    `macro`: whether it is a macro.
    `ends`: whether it is the end of a macro's meaning, an #undef.
    """

    names: tuple[str, ...]
    text: str
    file: str
    line: int
    last: int
    macro: bool = False
    ends: bool = False

    def uses(self) -> set[str]:
        """Return every identifier in the text."""
        return set(_IDENTIFIER.findall(_LITERAL.sub('""', self.text)))


def items_in(preprocessed: str) -> list[Item]:
    """Return the items, in order; an #undef is a macro too, with the name whose meaning ends there."""
    return [item for item in _items(preprocessed) if item.names]


def is_function(head: str) -> bool:
    """Return whether a declaration is of a function, by its text without literals up to the first brace."""
    return "(" in head and "=" not in head and not head.lstrip().startswith("typedef")


def _items(preprocessed: str) -> Iterator[Item]:
    file, line = "", 0
    start, depth = 0, 0
    pending: list[str] = []
    head, body, function = "", False, False
    for text in preprocessed.split("\n"):
        marker = _MARKER.match(text)
        if marker:
            file, line = marker[2], int(marker[1]) - 1
            continue
        line += 1
        define, undef = _DEFINE.match(text), _UNDEF.match(text)
        if define:
            # A macro with its own name as the body only says that a function exists.
            if text[define.end() :].strip() != define[1]:
                yield Item((define[1],), text + "\n", file, line, line, macro=True)
            continue
        if undef:
            yield Item((undef[1],), text + "\n", file, line, line, macro=True, ends=True)
            continue
        if text.lstrip().startswith("#") or (not pending and not text.strip()):
            continue
        if not pending:
            start, head, body, function = line, "", False, False
        pending.append(text)
        plain = _LITERAL.sub('""', text)
        if not body:
            before, brace, _ = plain.partition("{")
            head += before + "\n"
            body = bool(brace)
            function = body and is_function(head)
        depth += sum(map(plain.count, "{([")) - sum(map(plain.count, "})]"))
        last = plain.rstrip()[-1:]
        # A function ends with its brace, everything else with a semicolon; a closing brace too many ends what it is in.
        if depth < 0 or (depth == 0 and (last == ";" or (last == "}" and function))):
            whole = "\n".join(pending) + "\n"
            yield Item(_names(whole, head), whole, file, start, line)
            pending, depth = [], 0


def _names(text: str, head: str) -> tuple[str, ...]:
    """Return the names that a declaration defines, with an enumeration's constants."""
    if is_function(head):
        name = _function(_TOKEN.findall(head))
        return (name,) if name else ()
    names: dict[str, None] = {}
    outside: list[str] = []
    closings: list[str] = []
    tokens = _TOKEN.findall(_LITERAL.sub('""', text))
    constants = 0
    for at, sign in enumerate(tokens):
        if sign in _OPENING:
            if sign == "{" and at >= 1:
                kinds = tokens[max(at - 2, 0) : at]
                if "enum" in kinds:
                    constants = len(closings) + 1
                if len(kinds) == 2 and kinds[0] in ("struct", "union", "enum"):
                    names[kinds[1]] = None
            closings.append(_OPENING[sign])
        elif closings and sign == closings[-1]:
            closings.pop()
            if len(closings) < constants:
                constants = 0
        elif not closings:
            outside.append(sign)
        elif _is_word(sign) and (
            (constants == len(closings) and tokens[at - 1] in ("{", ","))
            or (closings == [")"] and tokens[at - 2 : at] == ["(", "*"])
        ):
            names[sign] = None
    return (*names, *(name for name in _declared(outside) if name not in names))


def _declared(tokens: list[str]) -> Iterator[str]:
    """Yield the names of a declaration, by its tokens that are in no brackets."""
    words = [token for token in tokens if _is_word(token)]
    if len(words) < 2 or words[0] == "extern":
        return
    value = False
    for sign, after in pairwise([*tokens, ";"]):
        if _is_word(sign) and after in ("=", ",", ";") and not value:
            yield sign
        value = sign == "=" or (value and sign != ",")


def _function(tokens: list[str]) -> str:
    """Return the name of the function that the tokens declare, "" if there is none.

    It is the name before the parameters, which are empty, void, or have a type and a name: macros of attributes, which
    are not known here, have other arguments, and stand before and after it.
    """
    groups: list[tuple[str, list[str]]] = []
    depth = 0
    for at, sign in enumerate(tokens):
        if sign == "(":
            if not depth and at and _is_word(tokens[at - 1]):
                groups.append((tokens[at - 1], []))
            elif depth == 1 and groups:
                groups[-1][1].append(sign)
            depth += 1
        elif sign == ")":
            depth -= 1
        elif depth == 1 and groups:
            groups[-1][1].append(sign)
    named = [name for name, inside in groups if _are_parameters(inside)]
    others = [name for name, _ in groups if not name.startswith("__")] or [
        name for name, _ in groups
    ]
    return next(iter([*named, *others]), "")


def _are_parameters(tokens: list[str]) -> bool:
    typed = any(
        _is_word(first) and (_is_word(second) or second == "*")
        for first, second in pairwise(tokens)
    )
    return typed or tokens in ([], ["void"])


def _is_word(token: str) -> bool:
    return token[0] == "_" or token[0].isalpha()
