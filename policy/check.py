"""The check of a policy before it runs, so that a mistake in a user's file is a sentence and not a finding."""

import inspect
import io
import re
import reprlib
from collections.abc import Callable
from contextlib import redirect_stdout
from itertools import product
from typing import Final

from shootdown.machine.entry import ACCESSED, DIRTY, MIGRATION, PRESENT, PROTNONE, RW, SWAP, USER
from shootdown.machine.geometry import FRAME_BITS
from shootdown.mm import flags
from shootdown.optimized.policy import Policy
from shootdown.optimized.strategy import GatherFlush

_WORD: Final = re.compile(r"[^\s#\x00-\x1f\x7f]+")
"""The form of a name in an `expect` line of a scenario."""
_PAGE: Final = PRESENT | RW | USER | ACCESSED | DIRTY | FRAME_BITS[5]
_PROBES: Final = (
    0,
    _PAGE,
    *(_PAGE ^ bit for bit, _ in flags.ENTRY_FLAGS),
    _PAGE ^ FRAME_BITS[1],
    _PAGE ^ (PRESENT | PROTNONE),
    MIGRATION | FRAME_BITS[5],
    SWAP | FRAME_BITS[5],
)
"""The entries for which a rule is called when it is loaded, in all pairs: every flag alone, and other frames."""


def what_is_wrong(policy: Policy) -> str:
    """Return the sentence that refuses the policy, "" if there is no objection."""
    name: object = policy.name
    if not isinstance(name, str) or not _WORD.fullmatch(name):
        return f"a policy's name must be one word, and {reprlib.repr(name)} is not."
    strategy: object = policy.strategy
    if not isinstance(strategy, type) or not issubclass(strategy, GatherFlush):
        return f"strategy must be a subclass of GatherFlush, and {reprlib.repr(strategy)} is not."
    rules = filter(None, (policy.needs_flush, policy.huge_needs_flush))
    with redirect_stdout(io.StringIO()):
        return next(filter(None, map(_wrong_rule, rules)), "")


def _wrong_rule(rule: Callable[..., object]) -> str:
    """Return the objection to the rule: it does not take two entries, or does not return True or False."""
    try:
        inspect.signature(rule).bind(0, 0)
    except ValueError:
        # A function of a compiled module may have no signature: the calls below check it.
        pass
    except TypeError:
        return "needs_flush must take two entries, (old, new)."
    for old, new in product(_PROBES, repeat=2):
        try:
            answer = rule(old, new)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - left to a run, which can show the scenario that makes it raise
            answer = False
        if answer is not True and answer is not False:
            change = f"{flags.describe_entry(old)} -> {flags.describe_entry(new)}"
            said = reprlib.repr(answer)
            return f"needs_flush must return True or False; for {change} it returned {said}."
    return ""
