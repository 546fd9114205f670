"""The policy of a kernel's own text."""

import difflib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from shootdown.kernel.compiler import digest_of
from shootdown.kernel.machinery import machinery_of
from shootdown.kernel.rule import KNOWN_OFF, Rule, rule_of
from shootdown.kernel.strategy import KernelFlush
from shootdown.kernel.text import File, KernelError, shown, text_at
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.policy import Policy

PREFIX: Final = "c:"
"""The words before the path for a policy with the text's rule, gather and delivery."""
RULE_PREFIX: Final = "c-rule:"
"""The words before the path for a policy with the text's rule, and the model's gather and delivery."""
NAME_PREFIX: Final = "c-rule-"
"""The beginning of the name of such a policy."""
MACHINERY_PREFIX: Final = "c-"
"""The beginning of the name of a policy with the text's machinery."""
DEBUG_VM: Final = "debug-vm"
"""The word after the path for CONFIG_DEBUG_VM."""
_OPTION: Final = re.compile(r"CONFIG_([A-Z0-9_]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class KernelPolicy:
    """The policy of a kernel's text.

    `spec`: the words that ask for it, with the whole path.
    `digest`: distinguishes the text and its options from any other one.
    `remark`: a sentence about what the text asks for and does not get, "" for none.
    """

    policy: Policy
    spec: str
    digest: str
    remark: str


def is_kernel_text(spec: str) -> bool:
    """Return whether the words name a kernel's own text."""
    return spec.startswith((PREFIX, RULE_PREFIX))


def kernel_policy(spec: str) -> KernelPolicy:
    """Return the policy that the words ask for: c-rule:PATH, and after a comma each option that is set.

    Two texts have two names, even of one release, so that a finding of one is not taken for a finding of the other.
    Errors: KernelError.
    """
    prefix = next(each for each in (PREFIX, RULE_PREFIX) if spec.startswith(each))
    path, options = _split(spec.removeprefix(prefix))
    if not path:
        raise KernelError(f"{spec} names no path: {prefix}PATH, of a kernel tree or a C file.")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise KernelError(
            f"{shown(Path(path))} is no UTF-8, and what is found is recorded with its path."
        ) from None
    try:
        typed = Path(path).expanduser()
    except RuntimeError:
        raise KernelError(f"{shown(Path(path))} names the home of an unknown user.") from None
    text = text_at(typed)
    rule = rule_of(text, options)
    machinery = (
        machinery_of(text, options) if prefix == PREFIX and not isinstance(text, File) else None
    )
    suffixes = [DEBUG_VM if name == "DEBUG_VM" else f"CONFIG_{name}" for name in options]
    whole = ",".join([f"{prefix}{typed.absolute()}", *suffixes])
    digest = rule.digest
    policy = replace(_of_rule(rule), name=_name(NAME_PREFIX, rule.release, digest, suffixes))
    remarks = _remarks(rule, spec)
    if machinery:
        digest = digest_of({"rule": rule.digest, "machinery": machinery.digest})
        policy = replace(
            policy,
            name=_name(MACHINERY_PREFIX, rule.release, digest, suffixes),
            summary=f"{policy.summary}; with its gather and its flushes, in their own C",
            strategy=type("KernelFlush", (KernelFlush,), {"machinery": machinery, "libraries": {}}),
        )
    elif prefix == PREFIX:
        # A C file or a patch has a rule and no machinery.
        remarks.append(f"{shown(typed)} has a rule alone; the gather and the flushes are of linux.")
    return KernelPolicy(policy, whole, digest, " ".join(remarks))


def _of_rule(rule: Rule) -> Policy:
    function = rule.needs_flush.__name__
    linux = REGISTRY["linux"]
    without = (
        "" if rule.huge_needs_flush else "; for a huge PMD, of which it says nothing, that of linux"
    )
    off = [f"CONFIG_{name}" for name in rule.off]
    asked = f"; it asks for {', '.join(off)}, off here" if off else ""
    return replace(
        linux,
        needs_flush=rule.needs_flush,
        huge_needs_flush=rule.huge_needs_flush or linux.huge_needs_flush,
        summary=f"the need-flush rule of {rule.release}, in its own C{without}{asked}",
        source=f"{function}, {rule.places[function]}",
    )


def _remarks(rule: Rule, spec: str) -> list[str]:
    unknown = [f"CONFIG_{name}" for name in rule.off if name not in KNOWN_OFF]
    if not unknown:
        return []
    return [
        f"The rule asks for {', '.join(unknown)}, off here; {shown(Path(spec))},{unknown[0]} sets one."
    ]


def _name(prefix: str, release: str, digest: str, suffixes: list[str]) -> str:
    return "+".join([f"{prefix}{release}-{digest[:_SHORT]}", *suffixes])


_SHORT: Final = 6
"""The number of digits of the digest in a name; the version of a campaign has all of them."""


def _split(words: str) -> tuple[str, tuple[str, ...]]:
    """Return the path, and the names of the options after it, each once and in alphabetical order."""
    path, options = words, set[str]()
    # A folder may have such a name itself.
    while "," in path and not _exists(path):
        before, _, word = path.rpartition(",")
        option = _OPTION.fullmatch(word)
        if word == DEBUG_VM:
            options.add("DEBUG_VM")
        elif option:
            options.add(option[1])
        elif _exists(before.split(",")[0]):
            close = difflib.get_close_matches(
                word.lower().replace("_", "-"), [DEBUG_VM], cutoff=0.5
            )
            hint = f" Did you mean {DEBUG_VM}?" if close else ""
            raise KernelError(
                f"{shown(Path(word))} is no option of a text: {DEBUG_VM} and CONFIG_NAME are.{hint}"
            )
        else:
            break
        path = before
    return path, tuple(sorted(options))


def _exists(path: str) -> bool:
    try:
        return bool(path) and Path(path).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False
