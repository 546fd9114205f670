"""`shootdown findings`: look into the findings database."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from shootdown.cli.finding_page import page, replay_line
from shootdown.cli.options import db_option, json_option
from shootdown.cli.output import output, print_json, print_table
from shootdown.cli.rows import print_rows
from shootdown.cli.selection import Selection, selection_options
from shootdown.cli.settle import reading_store, settle
from shootdown.store import (
    FORMATS,
    VIEWS,
    SqlValue,
    find_finding,
    finding_document,
    merge,
    open_store,
    reading,
    reading_view,
    write_json_items,
)


@click.group("findings")
def command() -> None:
    """Look into the findings database: list, show, query, sql, export, merge."""


@command.command("list")
@selection_options
@db_option
@json_option
def list_command(selection: Selection, *, db: str, as_json: bool) -> None:
    """List the findings, the first seen first."""
    with reading_store(db) as store:
        findings = selection.of(store)
        if as_json:
            write_json_items((finding_document(store, each) for each in findings), sys.stdout)
            return
    if not findings:
        click.echo("No findings.")
        return
    print_table(
        ("finding", "policy", "rule", "reason", "guilty skip", "ops", "seen", "last seen"),
        [
            (
                finding.id,
                finding.minimum.policy,
                finding.minimum.rule,
                finding.minimum.reason,
                finding.minimum.skip or "none",
                finding.minimum.operations,
                finding.count,
                finding.last_seen[:10],
            )
            for finding in findings
        ],
    )


@command.command("show")
@click.argument("finding")
@db_option
@json_option
def show_command(finding: str, *, db: str, as_json: bool) -> None:
    """Show a finding, by the beginning of its id: its scenario, evidence, sightings and replays."""
    with reading_store(db) as store:
        found = find_finding(store, finding)
        if as_json:
            print_json(finding_document(store, found) | {"replay": replay_line(store, found, db)})
        else:
            click.echo("\n".join(page(store, found, db)))


@command.command("query")
@click.argument("view", required=False)
@click.argument("parameters", nargs=-1, metavar="[NAME=VALUE]...")
@db_option
@json_option
def query_command(view: str | None, parameters: tuple[str, ...], *, db: str, as_json: bool) -> None:
    """Answer a question that people often ask, such as `by-rule`; without VIEW, list the questions."""
    if view is None:
        if as_json:
            print_json({name: asdict(known) for name, known in VIEWS.items()})
        else:
            known_views = [(name, known.description) for name, known in VIEWS.items()]
            print_table(("view", "what it answers"), known_views)
        return
    given = dict(_parameter(text) for text in parameters)
    with (
        reading_store(db) as store,
        reading_view(store, view, given) as stream,
    ):
        print_rows(stream, as_json=as_json)


@command.command("sql")
@click.argument("statement")
@db_option
@json_option
def sql_command(statement: str, *, db: str, as_json: bool) -> None:
    """Run one SELECT. Nothing that it does can change any file.

    A result of more than 1,000 rows is printed as it comes, with tabs between the values.
    """
    with (
        reading_store(db) as store,
        reading(store, statement) as stream,
    ):
        print_rows(stream, as_json=as_json)


@command.command("export")
@click.argument("findings", nargs=-1, metavar="[FINDING]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    help=f"The form that is written; {next(iter(FORMATS))} if it is not given.",
)
@click.option("--output", "path", metavar="FILE", help="Write to a file, not standard output.")
@selection_options
@db_option
@json_option
def export_command(
    selection: Selection,
    findings: tuple[str, ...],
    *,
    form: str | None,
    path: str | None,
    db: str,
    as_json: bool,
) -> None:
    """Write findings in a form for other programs; a single one as text is a scenario file that can be replayed.

    --json means --format json: one array, as `findings list --json` prints it.
    """
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} exclude each other.")
    if findings and not selection.everything:
        raise click.UsageError("Give either findings or options that choose them.")
    if path is not None and Path(path).exists() and Path(db).exists() and Path(path).samefile(db):
        raise click.UsageError(f"{path} is the database itself.")
    with reading_store(db) as store:
        chosen = [find_finding(store, prefix) for prefix in findings] or selection.of(store)
        with output(path) as out:
            FORMATS["json" if as_json else form or next(iter(FORMATS))](store, chosen, out)


@command.command("merge")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@db_option
@json_option
def merge_command(sources: tuple[str, ...], *, db: str, as_json: bool) -> None:
    """Bring everything that other databases hold into --db, which is made if it does not exist.

    A finding that both have is one finding with the sightings of both. Merging again changes nothing.
    """
    added = {}
    for source in sources:
        with (
            open_store(source, create=False, readonly=True) as other,
            open_store(db, create=True) as into,
        ):
            settle(into)
            added[source] = merge(into, other)
    if as_json:
        print_json({source: asdict(merged) for source, merged in added.items()})
        return
    for source, merged in added.items():
        click.echo(
            f"{source} into {db}: campaigns {merged.campaigns}, findings {merged.findings},"
            f" sightings {merged.sightings}, replays {merged.replays} were new."
        )


def _parameter(text: str) -> tuple[str, SqlValue]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{text!r} is not a parameter such as limit=20.")
    return name, int(value) if value.lstrip("-").isdecimal() else value
