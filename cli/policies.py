"""`shootdown policies`: what there is to test."""

import inspect
import shlex
import textwrap
from importlib.metadata import entry_points

import click

from shootdown.cli.chosen import chosen_policy
from shootdown.cli.kernel_text import text_document, text_lines
from shootdown.cli.options import json_option
from shootdown.cli.output import WIDTH, print_json, print_table
from shootdown.mm.fault_handler import FETCHES
from shootdown.optimized.elsewhere import ELSEWHERE
from shootdown.optimized.faults.catalogue import FAULTS
from shootdown.optimized.policies import RULES
from shootdown.optimized.policy import Policy
from shootdown.policy.source import GROUP, load_policy


@click.command("policies")
@click.argument("name", required=False)
@json_option
def command(name: str | None, *, as_json: bool) -> None:
    """List the policies, or show all there is to know of one.

    NAME is a policy, or the path of a Python file that defines one.
    """
    if name is not None:
        loaded = chosen_policy(name)
        if as_json:
            print_json(document(loaded.policy, loaded.spec))
        else:
            click.echo("\n".join(page(loaded.policy, loaded.spec)))
        return
    installed = [load_policy(point.name).policy for point in entry_points(group=GROUP)]
    rules = [*RULES, *ELSEWHERE, *installed]
    if as_json:
        print_json([document(policy, policy.name) for policy in (*rules, *FAULTS)])
        return
    print_table(
        ("policy", "handler", "what it does", "source"),
        [(policy.name, policy.handler, policy.summary, policy.source) for policy in rules],
    )
    click.echo()
    print_table(
        ("seeded fault", "handler", "rule", "year", "what is wrong", "source"),
        [
            (
                policy.name,
                policy.handler,
                fault.rule,
                str(fault.year or ""),
                policy.summary,
                policy.source,
            )
            for policy in FAULTS
            if (fault := policy.fault)
        ],
    )


def document(policy: Policy, spec: str) -> dict[str, object]:
    """Return a policy, which the words name, as JSON values.

    `fault` is null unless it is a seeded fault, and `text` unless it runs a kernel's own.
    """
    fault = policy.fault
    return {
        "name": policy.name,
        "summary": policy.summary,
        "source": policy.source,
        "trusts": policy.trusts,
        "rule": inspect.getdoc(policy.needs_flush) or "",
        "huge_inline": policy.huge_inline,
        "handler": policy.handler,
        "strategy": policy.strategy.__name__,
        "text": text_document(policy, spec),
        "fault": None
        if fault is None
        else {
            "rule": fault.rule,
            "origin": fault.origin,
            "year": fault.year or None,
            "mechanism": fault.mechanism,
        },
    }


def page(policy: Policy, spec: str) -> list[str]:
    """Return everything about a policy as lines.

    `spec`: the name that the user calls the policy by.
    """
    lines = [policy.name, *_paragraph(policy.summary)]
    if policy.source:
        lines.append(f"  Source: {policy.source}")
    if policy.trusts:
        lines += ["", "It trusts:", *_paragraph(policy.trusts)]
    fault = policy.fault
    if fault is not None:
        year = f" ({fault.year})" if fault.year else ""
        lines += ["", f"Fault, to be caught by {fault.rule}; from {fault.origin}{year}."]
        lines += _paragraph(fault.mechanism)
    rule = policy.needs_flush
    lines += ["", f"Rule {getattr(rule, '__name__', 'needs_flush')}(old, new):"]
    lines += _document_of(rule)
    lines += ["", f"Strategy {policy.strategy.__name__}:", *_document_of(policy.strategy)]
    huge = "flushed inline, under its lock" if policy.huge_inline else "recorded in the gather"
    lines += ["", f"A huge PMD is {huge}."]
    lines += textwrap.wrap(
        f"Page-fault handler {policy.handler}: it {FETCHES[policy.handler]}.", WIDTH
    )
    if not policy.soft_dirty_check:
        lines.append("mprotect makes pages writable whose first store clear_refs waits for.")
    if policy.report_spurious:
        lines.append("The fault handler delivers protection faults that it finds healed.")
    text = text_lines(policy, spec)
    if text:
        lines += ["", *text]
    lines += ["", "Test it:", f"  shootdown fuzz --policy {shlex.quote(spec)} --for 60s"]
    return lines


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _document_of(thing: object) -> list[str]:
    lines: list[str] = []
    for paragraph in (inspect.getdoc(thing) or "undocumented").split("\n\n"):
        lines += [*([""] if lines else []), *_paragraph(paragraph)]
    return lines
