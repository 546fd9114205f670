"""The parts of an untrusted text that the preprocessor must not see: directives that read files, and code that runs.

Comments and continued lines are resolved first, as in a compiler, so that neither hides a directive; the numbers of the
lines do not change.
"""

import re
from typing import Final

from shootdown.kernel.text import KernelError

_SPLICE: Final = re.compile(r"\\[ \t]*\n")
_TOKENS: Final = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""", re.DOTALL
)
_READS: Final = re.compile(
    r"^[ \t]*(?:#|%:|\?\?=)[ \t]*(?:include|include_next|import|embed|pragma|ident|line|\d)\b.*$",
    re.MULTILINE,
)
_ASKS: Final = re.compile(r"\b__has_(?:include(?:_next)?|embed)\b")
_REFUSED: Final = re.compile(
    r"\b(asm|__asm|__asm__|_Pragma|constructor|__constructor__"
    r"|destructor|__destructor__|ifunc|__ifunc__|section|__section__|alias|__alias__)\b"
)


def harmless(content: str, name: str) -> str:
    """Return a file's text without comments and without the directives that read other files, with as many lines.

    A continued line is in its first line, and empty lines follow it.
    """
    content = content.replace("\r\n", "\n").replace("\f", " ").replace("\v", " ")
    content = re.sub(r"(?:[^\n]*\\[ \t]*\n)+[^\n]*", lambda m: _joined(m[0]), content)
    content = _TOKENS.sub(_without_comment, content)
    if "/*" in _TOKENS.sub("", content):
        raise KernelError(f"{name}: a comment does not end.")
    asks = _ASKS.search(content)
    if asks:
        raise KernelError(f"{name} uses {asks[0]}, which looks for files.")
    return _READS.sub("", content)


def refuse_code(text: str, where: str) -> None:
    """Refuse text that does something for which a need-flush rule has no use.

    Errors: KernelError.
    """
    found = _REFUSED.search(re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text))
    if found:
        raise KernelError(f"{where} uses {found[1]}, which no need-flush rule has.")


def _joined(lines: str) -> str:
    return _SPLICE.sub("", lines) + "\n" * len(_SPLICE.findall(lines))


def _without_comment(token: re.Match[str]) -> str:
    text = token[0]
    return text if text[0] in "\"'" else " " + "\n" * text.count("\n")
