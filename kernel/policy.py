"""The policy of a kernel's own text."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from shootdown.kernel.compiler import digest_of
from shootdown.kernel.machinery import machinery_of
from shootdown.kernel.rule import rule_of
from shootdown.kernel.strategy import KernelFlush
from shootdown.kernel.text import KernelError, shown, text_at
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.policy import Policy

PREFIX: Final = "c:"
"""The words before the path for a policy with the text's rule, gather and delivery."""
RULE_PREFIX: Final = "c-rule:"
"""The words before the path for a policy with the text's rule, and the model's gather and delivery."""
DEBUG_VM: Final = ",debug-vm"
"""The words after the path for the text in a kernel with CONFIG_DEBUG_VM."""


def is_kernel_text(spec: str) -> bool:
    """Return whether the words name a kernel's own text."""
    return spec.startswith((PREFIX, RULE_PREFIX))


def kernel_policy(spec: str) -> tuple[Policy, str, str]:
    """Return the policy that the words ask for, the words with the whole path, and a word for the state of the text.

    Errors: KernelError.
    """
    prefix = next(each for each in (PREFIX, RULE_PREFIX) if spec.startswith(each))
    path = spec.removeprefix(prefix)
    # A folder may have such a name itself.
    suffix = DEBUG_VM if path.endswith(DEBUG_VM) and not Path(path).exists() else ""
    path = path.removesuffix(suffix)
    if not path:
        raise KernelError(f"{spec} names no path: {prefix}PATH, of a kernel tree or a C file.")
    try:
        where = Path(path).expanduser().absolute()
    except RuntimeError:
        raise KernelError(f"{shown(Path(path))} names the home of an unknown user.") from None
    text = text_at(where)
    rule = rule_of(text, debug_vm=bool(suffix))
    function = rule.needs_flush.__name__
    linux = REGISTRY["linux"]
    without = (
        "" if rule.huge_needs_flush else "; for a huge PMD, of which it says nothing, that of linux"
    )
    policy = replace(
        linux,
        name=f"c-rule-{rule.release}" + suffix.replace(",", "+"),
        needs_flush=rule.needs_flush,
        huge_needs_flush=rule.huge_needs_flush or linux.huge_needs_flush,
        summary=f"the need-flush rule of {rule.release}, in its own C{without}",
        source=f"{function}, {rule.places[function]}",
    )
    if prefix == RULE_PREFIX:
        return policy, f"{prefix}{where}{suffix}", rule.digest
    machinery = machinery_of(text, debug_vm=bool(suffix))
    policy = replace(
        policy,
        name=f"c-{rule.release}" + suffix.replace(",", "+"),
        summary=f"the need-flush rule, the gather and the flushes of {rule.release}, in their own C{without}",
        strategy=type("KernelFlush", (KernelFlush,), {"machinery": machinery, "libraries": {}}),
    )
    digest = digest_of({"rule": rule.digest, "machinery": machinery.digest})
    return policy, f"{prefix}{where}{suffix}", digest
