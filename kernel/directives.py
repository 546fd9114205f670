"""The parts of an untrusted text that the preprocessor must not see: directives that read files, and code that runs.

Comments and continued lines are resolved first, as in a compiler, so that neither hides a directive; the numbers of the
lines do not change.
"""

import re
from collections.abc import Iterator
from typing import Final

from shootdown.kernel.text import KernelError

# What does not end, ends with its line or with the text, as in gcc, so that each text is gone through once.
_TOKENS: Final = re.compile(
    r"""//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:[^"\\\n]|\\[^\n])*"?|'(?:[^'\\\n]|\\[^\n])*'?""", re.DOTALL
)
# A quotation mark in a character constant begins no string.
_LITERAL: Final = re.compile(r"""("|')(?:(?!\1)[^\\\n]|\\[^\n])*\1?""")
_READS: Final = re.compile(
    r"^[ \t]*(?:#|%:|\?\?=)[ \t]*(?:include|include_next|import|embed|pragma|ident|line|\d)\b.*$",
    re.MULTILINE,
)
_ASKS: Final = re.compile(r"\b(?:__has_(?:include(?:_next)?|embed)|_Pragma)\b")
_RAW: Final = re.compile(r'\b(?:u8?|U|L)?R"')
_REFUSED: Final = re.compile(
    r"\b(asm|__asm|__asm__|_Pragma|__thread|_Thread_local|__label__|__auto_type)\b|\bgoto\s*\*"
)
_DIRECTIVE: Final = re.compile(r"^[ \t]*#[ \t]*(\w+)", re.MULTILINE)
_ATTRIBUTE: Final = re.compile(r"\b__attribute(?:__)?\b|(?:\[|<:)\s*(?=\[|<:)")
_BRACKET: Final = re.compile(r"[()\[\]]|<:|:>")
_ATTRIBUTES: Final = frozenset(
    {"always_inline", "noinline", "gnu_inline", "unused", "used", "const", "pure", "cold", "hot"}
    | {"error", "warning", "warn_unused_result", "nonnull", "aligned", "packed", "fallthrough"}
)
"""Attributes that change nothing but how good the code is, or what the compiler says of it."""
_OF_THE_SHIM: Final = re.compile(
    r'__attribute__\(\((?:section\("percpu"\)|cleanup\(kernel_guard_end\))\)\)'
)
"""What macros of kernel/shim/machinery put into the text's lines."""
_BUILTIN: Final = re.compile(r"\b__(?:builtin|sync|atomic)_(\w+)")
_BUILTINS: Final = re.compile(
    r"expect|constant_p|types_compatible_p|choose_expr|offsetof|unreachable"
    r"|(?:popcount|ctz|clz|ffs|parity)(?:l|ll)?|bswap(?:16|32|64)|(?:add|sub|mul)_overflow"
)
_MARKER: Final = re.compile(r'# (\d+) "((?:[^"\\]|\\.)*)"')


def harmless(content: str, name: str) -> str:
    """Return a file's text without comments and without the directives that read other files, with as many lines.

    A continued line is in its first line, and empty lines follow it.
    """
    return without_reads(without_comments(content, name))


def without_reads(content: str) -> str:
    """Return a text that has no comments without the directives that read other files."""
    return _READS.sub("", content)


def without_comments(content: str, name: str) -> str:
    """Return a file's text as harmless does, with the directives that read other files."""
    # A compiler takes a backslash, blanks and the end of a line for a continuation, and a carriage return for a blank.
    content = content.translate(dict.fromkeys(map(ord, "\r\f\v"), " "))
    content = _joined(content.split("\n"))
    content = _TOKENS.sub(lambda token: _without_comment(token, name), content)
    if _RAW.search(content):
        raise KernelError(f"{name} has a raw string, which no kernel has.")
    asks = _ASKS.search(content)
    if asks:
        raise KernelError(f"{name}: a text that runs here has no use for {asks[0]}.")
    return content


def refuse_code(expanded: str, trusted: frozenset[str]) -> None:
    """Raise KernelError for preprocessed text that could do more than compute: a kernel's text has no use for it here.

    `trusted`: the files that are not looked at. Names are looked for after macros are expanded, which can put them
    together; and over the ends of lines, which mean nothing in C.
    """
    file, line = "", 0
    places: list[tuple[str, int]] = []
    lines: list[str] = []
    for text in expanded.split("\n"):
        marker = _MARKER.match(text)
        if marker:
            file, line = marker[2], int(marker[1]) - 1
            continue
        line += 1
        if file not in trusted:
            places.append((file, line))
            lines.append(_LITERAL.sub('""', _OF_THE_SHIM.sub(" ", text)))
    whole = "\n".join(lines)
    for at, found in _forbidden(whole):
        file, line = places[whole.count("\n", 0, at)]
        raise KernelError(f"{file}:{line}: a text that runs here has no use for {found}.")


def _forbidden(text: str) -> Iterator[tuple[int, str]]:
    """Yield what a text has that is not allowed, and where."""
    for refused in _REFUSED.finditer(text):
        yield refused.start(), refused[1] or "a computed goto"
    # What is left of _Pragma is a directive again.
    for directive in _DIRECTIVE.finditer(text):
        yield directive.start(), f"#{directive[1]}"
    for attribute in _ATTRIBUTE.finditer(text):
        words = re.findall(r"[A-Za-z_]\w*", _enclosed(text, attribute.end()))
        strange = [word for word in words if word.strip("_") not in _ATTRIBUTES]
        if strange:
            yield attribute.start(), f"the attribute {strange[0]}"
    for builtin in _BUILTIN.finditer(text):
        if not _BUILTINS.fullmatch(builtin[1]):
            yield builtin.start(), builtin[0]


def _enclosed(text: str, start: int) -> str:
    """Return what follows a place up to the end of its brackets, which open at the place or are open there."""
    depth = 0
    for bracket in _BRACKET.finditer(text, start):
        depth += 1 if bracket[0] in ("(", "[", "<:") else -1
        if depth <= 0:
            return text[start : bracket.end()]
    return text[start:]


def _joined(lines: list[str]) -> str:
    """Return lines with each continued one in its first, and empty lines after it."""
    joined: list[str] = []
    parts: list[str] = []
    for line in lines:
        before = line.rstrip(" \t")
        if before.endswith("\\"):
            parts.append(before[:-1])
        elif parts:
            joined += ["".join([*parts, line]), *[""] * len(parts)]
            parts = []
        else:
            joined.append(line)
    if parts:
        joined += ["".join(parts), *[""] * (len(parts) - 1)]
    return "\n".join(joined)


def _without_comment(token: re.Match[str], name: str) -> str:
    text = token[0]
    if text[0] != "/":
        return text
    if text.startswith("/*") and (len(text) < 4 or not text.endswith("*/")):
        raise KernelError(f"{name}: a comment does not end.")
    return " " + "\n" * text.count("\n")
