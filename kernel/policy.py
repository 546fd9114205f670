"""The policy of a kernel's own text."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from shootdown.kernel.rule import Rule, rule_of
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


def rule_at(spec: str) -> Rule:
    """Return the rule that the words name.

    Errors: KernelError.
    """
    path = spec.removeprefix(RULE_PREFIX)
    debug_vm = path.endswith(DEBUG_VM)
    path = path.removesuffix(DEBUG_VM)
    if not path:
        raise KernelError(f"{spec} names no path: {RULE_PREFIX}PATH, of a kernel tree or a C file.")
    try:
        where = Path(path).expanduser()
    except RuntimeError:
        raise KernelError(
            f"{shown(Path(path))} names the home of nobody who is known here."
        ) from None
    return rule_of(text_at(where), debug_vm=debug_vm)


def kernel_policy(spec: str) -> tuple[Policy, str]:
    """Return the policy that the words name, and a digest that distinguishes two states of the text.

    Errors: KernelError.
    """
    rule = rule_at(spec)
    debug_vm = spec.endswith(DEBUG_VM)
    name = f"c-rule-{rule.release}" + (DEBUG_VM.replace(",", "+") if debug_vm else "")
    function = rule.needs_flush.__name__
    policy = replace(
        REGISTRY["linux"],
        name=name,
        needs_flush=rule.needs_flush,
        huge_needs_flush=rule.huge_needs_flush,
        summary=f"the need-flush rule of {rule.release}, in its own C",
        source=f"{function}, {rule.places[function]}",
    )
    return policy, rule.digest
