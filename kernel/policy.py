"""The policy of a kernel's own text."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from shootdown.kernel.rule import rule_of
from shootdown.kernel.text import KernelError, shown, text_at
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.policy import Policy

RULE_PREFIX: Final = "c-rule:"
"""The words before the path for a policy with the text's rule, and the model's gather and delivery."""
DEBUG_VM: Final = ",debug-vm"
"""The words after the path for the text in a kernel with CONFIG_DEBUG_VM."""


def is_kernel_text(spec: str) -> bool:
    """Return whether the words name a kernel's own text."""
    return spec.startswith(RULE_PREFIX)


def kernel_policy(spec: str) -> tuple[Policy, str, str]:
    """Return the policy that the words ask for, the words with the whole path, and a word for the state of the text.

    Errors: KernelError.
    """
    path = spec.removeprefix(RULE_PREFIX)
    # A folder may have such a name itself.
    suffix = DEBUG_VM if path.endswith(DEBUG_VM) and not Path(path).exists() else ""
    path = path.removesuffix(suffix)
    if not path:
        raise KernelError(f"{spec} names no path: {RULE_PREFIX}PATH, of a kernel tree or a C file.")
    try:
        where = Path(path).expanduser().absolute()
    except RuntimeError:
        raise KernelError(f"{shown(Path(path))} names the home of an unknown user.") from None
    rule = rule_of(text_at(where), debug_vm=bool(suffix))
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
    return policy, f"{RULE_PREFIX}{where}{suffix}", rule.digest
