"""The parts of an untrusted text that the preprocessor must not see: directives that read files, and code that runs.

Comments and continued lines are resolved first, as in a compiler, so that neither hides a directive; the numbers of the
lines do not change.
"""

import re
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
    r"\b(asm|__asm|__asm__|_Pragma|__thread|_Thread_local|__label__|__auto_type)\b|(&&)(?=\s*[A-Za-z_]\w*\s*[;,}])"
)
_ATTRIBUTE: Final = re.compile(r"\b__attribute(?:__)?\b|\[\[")
_ATTRIBUTES: Final = frozenset(
    {"always_inline", "noinline", "gnu_inline", "unused", "used", "const", "pure", "cold", "hot"}
    | {"error", "warning", "warn_unused_result", "nonnull", "aligned", "packed", "fallthrough"}
)
"""Attributes that change nothing but how good the code is, or what the compiler says of it."""
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
        raise KernelError(f"{name}: a need-flush rule has no use for {asks[0]}.")
    return content


def refuse_code(expanded: str, trusted: frozenset[str]) -> None:
    """Raise KernelError for preprocessed text that could do more than compute: a need-flush rule has no use for it.

    `trusted`: the files that are not looked at. Names are looked for after macros are expanded, which can put them
    together.
    """
    file, line = "", 0
    for text in expanded.split("\n"):
        marker = _MARKER.match(text)
        if marker:
            file, line = marker[2], int(marker[1]) - 1
            continue
        line += 1
        if file in trusted:
            continue
        found = _forbidden(_LITERAL.sub('""', text))
        if found:
            raise KernelError(f"{file}:{line}: a need-flush rule has no use for {found}.")


def _forbidden(text: str) -> str:
    """Return what a line has that is not allowed, "" for nothing."""
    refused = _REFUSED.search(text)
    if refused:
        return refused[1] or "the address of a label"
    for attribute in _ATTRIBUTE.finditer(text):
        end = text.find("))", attribute.end())
        words = re.findall(r"[A-Za-z_]\w*", text[attribute.end() : end if end >= 0 else None])
        strange = [word for word in words if word.strip("_") not in _ATTRIBUTES]
        if strange or end < 0:
            return f"the attribute {strange[0]}" if strange else "an attribute of several lines"
    for builtin in _BUILTIN.finditer(text):
        if not _BUILTINS.fullmatch(builtin[1]):
            return builtin[0]
    return ""


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
