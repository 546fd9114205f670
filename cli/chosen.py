"""The policy that a user chooses."""

import click

from shootdown.cli.kernel_text import let_stand
from shootdown.policy.source import LoadedPolicy, load_policy


def chosen_policy(spec: str) -> LoadedPolicy:
    """Return the policy that the words name; its remark is told.

    Errors: PolicyError.
    """
    return told(load_policy(spec))


def told(loaded: LoadedPolicy) -> LoadedPolicy:
    """Return the policy; the remark that it has goes to standard error, once in a command."""
    remarks: set[str] = click.get_current_context().meta.setdefault("shootdown.remarks", set())
    if loaded.remark and loaded.remark not in remarks:
        remarks.add(loaded.remark)
        click.echo(loaded.remark, err=True)
    let_stand(loaded)
    return loaded
