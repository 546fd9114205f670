"""The definitions in a piece of preprocessed C, each with its names, its file and its line.

The text comes from `cc -E -fdirectives-only`: conditions are decided, includes removed, lines joined; macros are still
there, as #define lines, and not expanded where they are used.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_IDENTIFIER: Final = re.compile(r"[A-Za-z_]\w*")
_MARKER: Final = re.compile(r'# (\d+) "((?:[^"\\]|\\.)*)"')
_DEFINE: Final = re.compile(r"\s*#\s*define\s+(\w+)")
_UNDEF: Final = re.compile(r"\s*#\s*undef\s+(\w+)")
_LITERAL: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'')
_TAG: Final = re.compile(r"\b(?:struct|union|enum)\s+(\w+)\s*{")
_DECLARATOR: Final = re.compile(r"([A-Za-z_]\w*)\s*(?:\[[^\]]*\]\s*)*(?:=|,|;|$)")
_FUNCTION: Final = re.compile(r"([A-Za-z_]\w*)\s*\(")


@dataclass(frozen=True, slots=True)
class Item:
    """A macro, or a declaration or definition outside functions.

    `names`: the names that it defines.
    `text`: its text, which ends with a newline.
    `file`, `line`: its file, and its first line there.
    `macro`: whether it is a macro.
    """

    names: tuple[str, ...]
    text: str
    file: str
    line: int
    macro: bool = False

    def uses(self) -> set[str]:
        """Return every identifier in the text."""
        return set(_IDENTIFIER.findall(_LITERAL.sub('""', self.text)))


def items_in(preprocessed: str) -> list[Item]:
    """Return the items, in order, without the macros that are undefined later."""
    found: list[Item] = []
    for item in _items(preprocessed):
        if item.macro and not item.text:
            found = [other for other in found if not (other.macro and other.names == item.names)]
        elif item.names:
            found.append(item)
    return found


def _items(preprocessed: str) -> Iterator[Item]:
    file, line = "", 0
    start, pending, depth = 0, "", 0
    for text in preprocessed.splitlines():
        marker = _MARKER.match(text)
        if marker:
            file, line = marker[2], int(marker[1]) - 1
            continue
        line += 1
        define, undef = _DEFINE.match(text), _UNDEF.match(text)
        if define:
            # A macro with its own name as the body only says that a function exists.
            body = text[define.end() :].strip()
            if body != define[1]:
                yield Item((define[1],), text + "\n", file, line, macro=True)
            continue
        if undef:
            yield Item((undef[1],), "", file, line, macro=True)
            continue
        if text.lstrip().startswith("#") or (not pending and not text.strip()):
            continue
        if not pending:
            start = line
        pending += text + "\n"
        plain = _LITERAL.sub('""', text)
        depth += sum(map(plain.count, "{([")) - sum(map(plain.count, "})]"))
        last = plain.rstrip()[-1:]
        # A function ends with its brace, everything else with a semicolon.
        if depth <= 0 and (last == ";" or (last == "}" and _is_function(pending))):
            yield Item(_names(pending), pending, file, start)
            pending, depth = "", 0


def _head(text: str) -> str:
    return text.partition("{")[0]


def _is_function(text: str) -> bool:
    head = _head(text)
    return "(" in head and "=" not in head and not head.lstrip().startswith("typedef")


def _names(text: str) -> tuple[str, ...]:
    """Return the names that a declaration defines, with an enumeration's constants."""
    plain = _LITERAL.sub('""', text)
    tags = tuple(_TAG.findall(plain))
    if _is_function(plain):
        name = _FUNCTION.search(re.sub(r"__attribute__\s*\(\(.*?\)\)", "", _head(plain)))
        return (name[1],) if name else ()
    constants: tuple[str, ...] = ()
    for body in re.findall(r"\benum\b[^{;]*{([^}]*)}", plain):
        constants += tuple(re.findall(r"(?:^|,)\s*([A-Za-z_]\w*)", body))
    outside = _without_braces(plain)
    declared = tuple(_DECLARATOR.findall(outside)) if _is_declaration(outside) else ()
    return tags + constants + tuple(name for name in declared if name not in tags)


def _is_declaration(outside: str) -> bool:
    words = _IDENTIFIER.findall(outside)
    return len(words) > 1 and words[0] != "extern"


def _without_braces(text: str) -> str:
    kept, depth = [], 0
    for part in re.split(r"([{}])", text):
        if part == "{":
            depth += 1
        elif part == "}":
            depth -= 1
        elif not depth:
            kept.append(part)
    return " ".join(kept)
