"""`shootdown table`: for every class of changes whether a policy flushes, and whether a flush is needed."""

from collections.abc import Sequence

import click

from shootdown.cli.chosen import chosen_policy
from shootdown.cli.exit_codes import ILLEGAL_FOUND, OK
from shootdown.cli.options import json_option
from shootdown.cli.output import WIDTH, output, print_json
from shootdown.optimized.policies import RULES
from shootdown.policy.source import told_apart
from shootdown.table.document import document_of
from shootdown.table.page import page_of
from shootdown.table.rows import MISSING, table_of
from shootdown.table.text import lines_of


@click.command("table")
@click.option(
    "--policy",
    "specs",
    multiple=True,
    metavar="NAME|FILE",
    help="The policy to judge; may be repeated. Default: the rules of `shootdown policies`.",
)
@click.option(
    "--against",
    metavar="NAME|FILE",
    help="Show only where a policy does otherwise than this one, and count only what this one does not miss.",
)
@click.option("--html", "html", metavar="FILE", help="Write a page for a browser to FILE instead.")
@json_option
def command(specs: Sequence[str], *, against: str | None, html: str | None, as_json: bool) -> int:
    """Tabulate need-flush rules: does a rule flush, and is a flush needed.

    The rows are the classes of changes of a page-table entry. A search finds whether a class needs a flush: some short
    execution is illegal without it, under the page-fault handler that the policy names. Only the rule is judged; `fuzz`
    and `prove` look at how a flush is batched and delivered.

    With --against the last column is the base, a kernel tree without your change, say.

    The exit code is 1 when a needed flush is missing.
    """
    if html is not None and as_json:
        raise click.UsageError("Give either --html or --json.")
    chosen = specs or [rule.name for rule in RULES]
    policies = [chosen_policy(spec) for spec in dict.fromkeys([*chosen, *filter(None, [against])])]
    policies = told_apart(policies)
    rows = table_of(policies)
    if against is not None:
        rows = [row for row in rows if len({cell.verdict for cell in row.cells}) > 1]
    judged = [loaded.policy for loaded in policies]
    missing = sum(
        cell.verdict == MISSING
        for row in rows
        for cell in row.cells
        if against is None or row.cells[-1].verdict != MISSING
    )
    if as_json:
        print_json(document_of(rows, judged))
    elif html is not None:
        with output(html) as out:
            out.write(page_of(rows, judged))
        click.echo(f"The table is in {html}; missing flushes: {missing}.")
    elif against is not None and not rows:
        click.echo(f"Nothing is done otherwise than by {policies[-1].name}.")
    else:
        click.echo("\n".join(lines_of(rows, judged, WIDTH)))
    return ILLEGAL_FOUND if missing else OK
