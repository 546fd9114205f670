"""What a worker tells the parent: one line of JSON each, on the worker's standard output.

A line is `[name, fields]`; byte strings are base64 inside `{"base64": ...}`.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias

from shootdown.evidence.investigate import Found
from shootdown.store import Evidence, Minimum

Trouble: TypeAlias = Literal["policy", "not-reproducible", "harness"]
"""Whose fault it is that a worker cannot go on: the user's policy, a policy or harness with a memory, the harness."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The worker has started and begins to fuzz."""

    pid: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the worker is, twice a second, also while it minimizes.

    Counters are totals of the worker; `features` are those new since the last message; `costs` are flushes, IPIs and
    invalidated pages; `again` counts failures, since the last message, by the key of the finding of their kind.
    """

    executions: int = 0
    undecided: int = 0
    failures: int = 0
    corpus_size: int = 0
    features: Sequence[int] = ()
    costs: Sequence[int] = (0, 0, 0)
    reference_costs: Sequence[int] = (0, 0, 0)
    again: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interesting:
    """An input showed a new feature."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """The worker cannot go on; `sentence` says why, `scenario` is the text that shows it, if there is one."""

    trouble: Trouble
    sentence: str
    scenario: str = ""
    details: str = ""


@dataclass(frozen=True, slots=True)
class Bye:
    """The worker ends as it was meant to; everything that it had to say has been said."""


Message: TypeAlias = Hello | Progress | Interesting | Found | Broken | Bye

_TYPES: Final[dict[str, type[Message]]] = {
    message.__name__: message for message in (Hello, Progress, Interesting, Found, Broken, Bye)
}


def encode_message(message: Message) -> bytes:
    """Return the line of a message, with its end."""
    return json.dumps([type(message).__name__, asdict(message)], default=_to_json).encode() + b"\n"


def decode_message(line: bytes) -> Message:
    """Return the message of a line; ValueError when it is none."""
    try:
        name, fields = json.loads(line, object_hook=_from_json)
        if name == Found.__name__:
            fields["minimum"] = Minimum(**fields["minimum"])
            fields["evidence"] = Evidence(**fields["evidence"])
        return _TYPES[name](**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message: {line[:80]!r}") from error


def _to_json(value: object) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} has no form in a message")
    return {"base64": base64.b64encode(value).decode("ascii")}


def _from_json(value: dict[str, Any]) -> object:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value
