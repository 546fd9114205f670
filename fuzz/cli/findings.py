"""`shootdown findings`: look into the findings database."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import click

from fuzz.cli.finding_page import page, replay_line
from fuzz.cli.options import db_option, json_option, print_json, print_table
from fuzz.store import (
    VIEWS,
    Rows,
    SqlValue,
    Store,
    StoredFinding,
    export_csv,
    export_jsonl,
    export_text,
    find_campaign,
    find_finding,
    finding_document,
    jsonable,
    list_findings,
    merge,
    open_store,
    query,
    run_view,
)

policy_option = click.option("--policy", metavar="NAME", help="Only findings of this policy.")
rule_option = click.option(
    "--rule", metavar="RULE", help="Only violations of this rule, such as C1."
)
campaign_option = click.option(
    "--campaign", metavar="NAME", help="Only findings that this campaign has seen."
)


@click.group("findings")
def command() -> None:
    """Look into the findings database: list, show, query, sql, export, merge."""


@command.command("list")
@policy_option
@rule_option
@campaign_option
@db_option
@json_option
def list_command(
    *, policy: str | None, rule: str | None, campaign: str | None, db: str, as_json: bool
) -> None:
    """List the findings, the first seen first."""
    with open_store(db, create=False, readonly=True) as store:
        findings = _selected(store, policy, rule, campaign)
        if as_json:
            print_json([finding_document(store, finding) for finding in findings])
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
    with open_store(db, create=False, readonly=True) as store:
        found = find_finding(store, finding)
        if as_json:
            print_json(finding_document(store, found) | {"replay": replay_line(found, db)})
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
    with open_store(db, create=False, readonly=True) as store:
        _print_rows(run_view(store, view, given), as_json=as_json)


@command.command("sql")
@click.argument("statement")
@db_option
@json_option
def sql_command(statement: str, *, db: str, as_json: bool) -> None:
    """Run one SELECT. Nothing that it does can change any file."""
    with open_store(db, create=False, readonly=True) as store:
        _print_rows(query(store, statement), as_json=as_json)


@command.command("export")
@click.argument("findings", nargs=-1, metavar="[FINDING]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "jsonl", "csv"]),
    default="text",
    show_default=True,
    help="Scenarios as text, or all that is known as JSON lines, or a table.",
)
@click.option("--output", metavar="FILE", help="Write to a file instead of standard output.")
@policy_option
@rule_option
@campaign_option
@db_option
def export_command(
    findings: tuple[str, ...],
    *,
    form: str,
    output: str | None,
    policy: str | None,
    rule: str | None,
    campaign: str | None,
    db: str,
) -> None:
    """Write findings in a form for other programs; a single one as text is a scenario file that can be replayed."""
    with open_store(db, create=False, readonly=True) as store:
        chosen = [find_finding(store, prefix) for prefix in findings]
        if not findings:
            chosen = _selected(store, policy, rule, campaign)
        with _output(output) as out:
            if form == "jsonl":
                export_jsonl(store, chosen, out)
            elif form == "csv":
                export_csv(chosen, out)
            else:
                export_text(chosen, out)


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
            added[source] = merge(into, other)
    if as_json:
        print_json({source: asdict(merged) for source, merged in added.items()})
        return
    for source, merged in added.items():
        click.echo(
            f"{source} into {db}: campaigns {merged.campaigns}, findings {merged.findings},"
            f" sightings {merged.sightings}, replays {merged.replays} were new."
        )


def _selected(
    store: Store, policy: str | None, rule: str | None, campaign: str | None
) -> list[StoredFinding]:
    seen_by = find_campaign(store, campaign).id if campaign is not None else None
    return list_findings(store, policy=policy, rule=rule, campaign=seen_by)


def _parameter(text: str) -> tuple[str, SqlValue]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{text!r} is not a parameter such as limit=20.")
    return name, int(value) if value.lstrip("-").isdecimal() else value


def _print_rows(rows: Rows, *, as_json: bool) -> None:
    if as_json:
        print_json([jsonable(dict(zip(rows.columns, row, strict=True))) for row in rows.rows])
    elif rows.rows:
        print_table(rows.columns, rows.rows)
    else:
        click.echo("No rows.")


@contextmanager
def _output(path: str | None) -> Iterator[TextIO]:
    """Open the file that the user named, or standard output."""
    if path is None:
        yield sys.stdout
        return
    try:
        with Path(path).open("w", newline="", encoding="utf-8") as out:
            yield out
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}.") from None
