"""What the user is told about a kernel's own text before it is tested."""

import textwrap
from typing import Final

import click

from shootdown.cli.output import WIDTH
from shootdown.kernel.known_texts import Likeness, likeness_of
from shootdown.kernel.machinery import CHANGES
from shootdown.kernel.strategy import KernelFlush
from shootdown.optimized.policy import Policy
from shootdown.policy.source import LoadedPolicy
from shootdown.run.held import MODEL, Held, held

_SHOWN: Final = 5
"""The number of stories and accesses that are named before a campaign."""


def introduce(loaded: LoadedPolicy) -> None:
    """Say on standard error which text a policy runs, and hold an unknown one against the corpus; else do nothing."""
    strategy = loaded.policy.strategy
    if not issubclass(strategy, KernelFlush):
        return
    like = likeness_of(strategy.machinery.sources)
    if not like.hunks and like.release:
        click.echo(f"known text: {like.release}", err=True)
        return
    found = held(loaded.policy.make())
    lines = [f"unknown text: {_compared(like)}, {_agreeing(found)}"]
    lines += [
        f"  {name}: {theirs} on the models, {ours} here"
        for name, theirs, ours in found.differ[:_SHOWN]
    ]
    if len(found.differ) > _SHOWN:
        lines.append(f"  ... `shootdown policies {loaded.spec}` lists all")
    if found.unstopped:
        count = len(found.unstopped)
        lines.append(
            f"{count} access{'es' if count > 1 else ''} to what CPUs share {'have' if count > 1 else 'has'} no stop "
            "before: no other CPU comes in between there."
        )
        lines += [f"  {_access(*access)}" for access in found.unstopped[:_SHOWN]]
    click.echo("\n".join(lines), err=True)


def text_lines(policy: Policy) -> list[str]:
    """Return all that is known of the text of a policy, as lines; none for another policy."""
    if not issubclass(policy.strategy, KernelFlush):
        return []
    found = held(policy.make())
    like = likeness_of(policy.strategy.machinery.sources)
    word = "unknown" if like.hunks or not like.release else "known"
    lines = [f"Its text is {word}: {_compared(like)}, {_agreeing(found)}."]
    lines += [
        f"  {name}: {theirs} on the models, {ours} here" for name, theirs, ours in found.differ
    ]
    lines += ["", "Of the text is changed:"]
    changes = dict.fromkeys(f"{each.file}: {each.reason}" for each in CHANGES)
    for change in changes:
        lines += textwrap.wrap(change, WIDTH, initial_indent="  ", subsequent_indent="    ")
    lines += ["", "Accesses to what CPUs share, without a stop before them:"]
    lines += [f"  {_access(*access)}" for access in found.unstopped] or [
        "  none in the runs of the stories"
    ]
    return lines


def text_document(policy: Policy) -> dict[str, object] | None:
    """Return the same as JSON values, None for another policy."""
    if not issubclass(policy.strategy, KernelFlush):
        return None
    found = held(policy.make())
    like = likeness_of(policy.strategy.machinery.sources)
    return {
        "known": bool(like.release) and not like.hunks,
        "nearest": like.release,
        "hunks": like.hunks,
        "files": list(like.files),
        "stories": found.stories,
        "differ": [
            {"story": name, MODEL: theirs, "text": ours} for name, theirs, ours in found.differ
        ],
        "unstopped": [
            {"function": function, "place": place, "writes": writes}
            for function, place, writes in found.unstopped
        ],
    }


def _compared(like: Likeness) -> str:
    if not like.release:
        return "no text is known"
    if not like.hunks:
        return like.release
    verb = "hunk differs" if like.hunks == 1 else "hunks differ"
    return f"{like.hunks} {verb} from {like.release} ({', '.join(like.files)})"


def _agreeing(found: Held) -> str:
    return f"{found.stories - len(found.differ)} of {found.stories} stories agree"


def _access(function: str, place: str, writes: bool) -> str:  # noqa: FBT001 - a row of a table
    return f"{place}: {function} {'writes' if writes else 'reads'}"
