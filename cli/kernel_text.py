"""What the user is told about a kernel's own text before it is tested."""

import textwrap
from functools import cache
from pathlib import Path
from typing import Final

import click

from shootdown.cli.output import WIDTH
from shootdown.kernel.cache import cached
from shootdown.kernel.known_texts import Likeness, is_known, likeness_of
from shootdown.kernel.splicer import CHANGES
from shootdown.kernel.strategy import KernelFlush
from shootdown.kernel.text import KernelError
from shootdown.optimized.policy import Policy
from shootdown.policy.source import LoadedPolicy, PolicyError
from shootdown.run.held import MODEL, Held, held
from shootdown.scenario import corpus

_STANDS: Final = "stands"
_SHOWN: Final = 5
"""The number of stories and accesses that are named before a campaign."""


def introduce(loaded: LoadedPolicy) -> None:
    """Say on standard error which text a policy runs, and hold an unknown one against the corpus; else do nothing."""
    strategy = loaded.policy.strategy
    if not issubclass(strategy, KernelFlush):
        return
    like = likeness_of(strategy.machinery.sources)
    if is_known(strategy.machinery.sources):
        click.echo(f"known text: {like.release}", err=True)
        return
    found = _held(loaded.spec)
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


def text_lines(policy: Policy, spec: str) -> list[str]:
    """Return all that is known of the text of a policy, as lines; none for another policy."""
    if not issubclass(policy.strategy, KernelFlush):
        return []
    found = _held(spec)
    like = likeness_of(policy.strategy.machinery.sources)
    word = "known" if is_known(policy.strategy.machinery.sources) else "unknown"
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


def text_document(policy: Policy, spec: str) -> dict[str, object] | None:
    """Return the same as JSON values, None for another policy."""
    if not issubclass(policy.strategy, KernelFlush):
        return None
    found = _held(spec)
    like = likeness_of(policy.strategy.machinery.sources)
    return {
        "known": is_known(policy.strategy.machinery.sources),
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


def let_stand(loaded: LoadedPolicy) -> None:
    """Raise PolicyError if a policy runs a text that ends the process or does not return, in the stories.

    An unknown text is tried once, and the cache remembers it.
    """
    strategy = loaded.policy.strategy
    if not issubclass(strategy, KernelFlush) or is_known(strategy.machinery.sources):
        return

    def stand(folder: Path) -> None:
        _held(loaded.spec)
        (folder / _STANDS).write_text("yes\n")

    try:
        cached({"machinery": strategy.machinery.build, **corpus.texts()}, _STANDS, stand)
    except KernelError as error:
        raise PolicyError(str(error)) from None


@cache
def _held(spec: str) -> Held:
    try:
        return held(spec)
    except KernelError as error:
        raise PolicyError(str(error)) from None


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
