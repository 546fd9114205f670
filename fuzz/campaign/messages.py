"""What a worker tells the parent: each message is one line of JSON on the worker's standard output.

A line is `[name, fields]`; byte strings are base64 inside `{"base64": ...}`.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias

from shootdown.evidence.investigate import Found
from shootdown.fuzz.base import Decision, Tally
from shootdown.store import Evidence, Minimum

Trouble: TypeAlias = Literal["policy", "not-reproducible", "harness"]
"""The cause when a worker cannot go on: the user's policy, a policy or harness that keeps state, or the harness."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The worker has started and begins to fuzz."""

    pid: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the worker is; it is sent twice a second, also during minimization.

    Counters are totals of the worker.
    `features`: the features that are new since the last message.
    `costs`: flushes, IPIs and invalidated pages.
    `again`: the failures since the last message, counted by the key of the finding of their kind.
    `tally`: what the base has shown, None without a base.
    """

    executions: int = 0
    undecided: int = 0
    failures: int = 0
    corpus_size: int = 0
    features: Sequence[int] = ()
    costs: Sequence[int] = (0, 0, 0)
    reference_costs: Sequence[int] = (0, 0, 0)
    again: Mapping[str, int] = field(default_factory=dict)
    tally: Tally | None = None


@dataclass(frozen=True, slots=True)
class Interesting:
    """An input showed a new feature."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """The worker cannot go on.

    `sentence`: the reason.
    `scenario`: the text that shows it, if there is one.
    """

    trouble: Trouble
    sentence: str
    scenario: str = ""
    details: str = ""


@dataclass(frozen=True, slots=True)
class Bye:
    """The worker ends as intended, and has sent everything."""


Message: TypeAlias = Hello | Progress | Interesting | Found | Broken | Bye

_TYPES: Final[dict[str, type[Message]]] = {
    message.__name__: message for message in (Hello, Progress, Interesting, Found, Broken, Bye)
}


def encode_message(message: Message) -> bytes:
    """Return a message as a line, with its line end."""
    return json.dumps([type(message).__name__, asdict(message)], default=_to_json).encode() + b"\n"


def decode_message(line: bytes) -> Message:
    """Return the message in a line.

    Errors: ValueError when the line is not a message.
    """
    try:
        name, fields = json.loads(line, object_hook=_from_json)
        if name == Found.__name__:
            fields["minimum"] = Minimum(**fields["minimum"])
            fields["evidence"] = Evidence(**fields["evidence"])
        elif fields.get("tally"):
            tally = Tally(**fields["tally"])
            tally.decisions = [Decision(*decision) for decision in tally.decisions]
            fields["tally"] = tally
        return _TYPES[name](**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message: {line[:80]!r}") from error


def _to_json(value: object) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} has no form in a message")
    return {"base64": base64.b64encode(value).decode("ascii")}


def _from_json(value: dict[str, Any]) -> object:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value
