"""The world outside a scenario: the time, and random choices that the user left open."""

import time
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import chain, count
from random import Random, SystemRandom


def now() -> str:
    """Return the time in the form in which the findings database keeps it."""
    return datetime.now(UTC).isoformat()


def default_name(policy: str, taken: Collection[str]) -> str:
    """Return a name for a campaign to which the user gave none: its policy and the second of its start, in UTC.

    If the name is taken, a number is added.
    """
    name = f"{policy}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(name for name in names if name not in taken)


def fresh_seed() -> int:
    """Return a seed when the user gave none; it is shown and stored, so that the campaign can be repeated."""
    return SystemRandom().randrange(1 << 32)


def draws(seed: int) -> Random:
    """Return the source of random draws that a seed determines."""
    return Random(seed)
