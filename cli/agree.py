"""`shootdown agree`: the differences between two policies in decisions, costs and verdicts."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

import click

from shootdown.cli.chosen import chosen_policy
from shootdown.cli.exit_codes import ILLEGAL_FOUND, OK
from shootdown.cli.options import counted, json_option
from shootdown.cli.output import WIDTH, print_json
from shootdown.fuzz.base import COSTS
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.policy.source import LoadedPolicy, blamed, told_apart
from shootdown.run.execute import execute
from shootdown.scenario import Scenario, render
from shootdown.scenario.verdict import ILLEGAL
from shootdown.system.environment import draws
from shootdown.table.agreement import Agreement, Class, agreement_of
from shootdown.table.changes import describe
from shootdown.table.need import WITHOUT_REWALK, YES


@dataclass
class Compared:
    """The results of the same scenarios under both policies."""

    scenarios: int = 0
    verdicts_differ: int = 0
    costs_differ: int = 0
    costs: list[dict[str, int]] = field(
        default_factory=lambda: [dict.fromkeys(COSTS, 0) for _ in "ab"]
    )
    first: tuple[Scenario, int, tuple[str, str]] | None = None


@click.command("agree")
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@click.option(
    "--random",
    "number",
    type=click.IntRange(0),
    default=1_000,
    show_default=True,
    help="The number of random scenarios that run under both.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The seed of the first one.",
)
@json_option
def command(one: str, other: str, *, number: int, seed: int, as_json: bool) -> int:
    """Compare two policies: their rules over all changes of the flags, and their runs of random scenarios.

    A and B are policies: names, Python files, or c:PATH for a kernel's own C. Every class of changes
    about which the rules differ is printed with an example, and with the answer of `shootdown table` to the question
    whether the flush that one of them leaves out is needed.

    The exit code is 1 if they differ.
    """
    loaded = told_apart([chosen_policy(one), chosen_policy(other)])
    with blamed(loaded[0]), blamed(loaded[1]):
        agreement = agreement_of(loaded[0].policy, loaded[1].policy)
        compared = _run(loaded, number, seed)
    if as_json:
        print_json(_document(loaded, agreement, compared))
    else:
        click.echo(
            "\n".join(chain.from_iterable(map(_wrapped, _lines(loaded, agreement, compared))))
        )
    same = not agreement.differ and not compared.verdicts_differ and not compared.costs_differ
    return OK if same else ILLEGAL_FOUND


def _run(loaded: list[LoadedPolicy], number: int, seed: int) -> Compared:
    compared = Compared()
    for one in range(seed, seed + number):
        scenario = random_scenario(draws(one))
        outcomes = [execute(scenario, each.policy.make()) for each in loaded]
        compared.scenarios += 1
        shown = [(outcome.verdict, outcome.reason) for outcome in outcomes]
        compared.costs_differ += outcomes[0].costs != outcomes[1].costs
        for total, outcome in zip(compared.costs, outcomes, strict=True):
            for word, index in COSTS.items():
                total[word] += outcome.costs[index]
        if shown[0] != shown[1]:
            compared.verdicts_differ += 1
            if compared.first is None:
                words = [reason if verdict == ILLEGAL else verdict for verdict, reason in shown]
                compared.first = (scenario, one, (words[0], words[1]))
    return compared


def _lines(loaded: list[LoadedPolicy], agreement: Agreement, compared: Compared) -> Iterator[str]:
    names = [each.name for each in loaded]
    yield f"{names[0]} and {names[1]}, {agreement.pairs:,} pairs of entries:"
    if not agreement.differ:
        yield "  their rules decide alike in all of them."
    else:
        yield f"  their rules differ in {agreement.differ:,}, in {counted(len(agreement.classes), 'kind')} of change:"
    for each in agreement.classes:
        yield ""
        yield from _class_lines(names, each)
    yield ""
    yield f"{counted(compared.scenarios, 'random scenario')}:"
    if compared.verdicts_differ or compared.costs_differ:
        yield f"  {compared.verdicts_differ:,} with another verdict, {compared.costs_differ:,} with other costs."
    else:
        yield "  the same verdicts, and the same costs."
    width = max(map(len, names))
    for name, costs in zip(names, compared.costs, strict=True):
        yield f"  {name:{width}}  " + ", ".join(
            f"{word} {number:,}" for word, number in costs.items()
        )
    if compared.first:
        scenario, seed, words = compared.first
        yield ""
        yield f"The first that differs, seed {seed}: {names[0]} {words[0]}, {names[1]} {words[1]}."
        yield from (f"  {line}".rstrip() for line in render(scenario).splitlines())


def _wrapped(line: str) -> list[str]:
    """Return a line, and those that go on with it where it is too long: names may be paths."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return (
        textwrap.wrap(
            line,
            WIDTH,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        if len(line) > WIDTH
        else [line]
    )


def _class_lines(names: list[str], each: Class) -> Iterator[str]:
    yield f"{'2 MiB' if each.huge else '4 KiB'}: {_change_words(each.changes)}"
    flushing, other = names[each.flushing], names[1 - each.flushing]
    yield f"  {flushing} flushes, {other} does not, in {each.differ:,} of {each.pairs:,} pairs."
    old, new = (describe(entry, huge=each.huge) for entry in (each.old, each.new))
    yield f"  {old} -> {new}"
    if each.needed == YES:
        yield f"  The flush is needed: {other} is wrong, or flushes elsewhere."
    elif each.needed == WITHOUT_REWALK:
        yield "  The flush is not needed by any processor that checks a clean entry before a store."
    else:
        yield f"  The flush is not needed: {other} saves it."


def _change_words(changes: tuple[str, ...]) -> str:
    """Return the words of a change, for example `RW set` or `bits 13 to 20, 52 set`."""
    if len(changes) == 1:
        return changes[0]
    numbers = sorted(int(words.split()[1]) for words in changes)
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][-1] == number - 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    spans = [f"{each[0]} to {each[-1]}" if len(each) > 1 else str(each[0]) for each in ranges]
    return f"bits {', '.join(spans)} {changes[0].split()[2]}"


def _document(
    loaded: list[LoadedPolicy], agreement: Agreement, compared: Compared
) -> dict[str, object]:
    names = [each.name for each in loaded]
    first = compared.first
    return {
        "policies": names,
        "pairs": agreement.pairs,
        "differ": agreement.differ,
        "classes": [
            {
                "size": "2 MiB" if each.huge else "4 KiB",
                "changes": list(each.changes),
                "old": hex(each.old),
                "new": hex(each.new),
                "flushes": names[each.flushing],
                "pairs": each.pairs,
                "differ": each.differ,
                "needed": each.needed,
            }
            for each in agreement.classes
        ],
        "scenarios": compared.scenarios,
        "verdicts_differ": compared.verdicts_differ,
        "costs_differ": compared.costs_differ,
        "costs": dict(zip(names, compared.costs, strict=True)),
        "first": first and {"seed": first[1], "verdicts": first[2], "scenario": render(first[0])},
    }
