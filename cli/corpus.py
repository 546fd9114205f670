"""`shootdown corpus`: the scenarios that ship with the tool."""

import textwrap

import click

from shootdown.cli.options import json_option
from shootdown.cli.output import WIDTH, print_json, print_table
from shootdown.scenario import ParsedScenario, corpus, parse
from shootdown.scenario.source import corpus_text


@click.group("corpus")
def command() -> None:
    """List the scenarios that ship with the tool, or show one: list, show."""


@command.command("list")
@json_option
def list_command(*, as_json: bool) -> None:
    """List the scenarios: good_* must be legal, bad_RULE_* must be caught by the rule."""
    stories = corpus.load()
    if as_json:
        print_json([_document(name, parsed) for name, parsed in stories.items()])
        return
    room = WIDTH - max(map(len, stories)) - 2
    print_table(
        ("scenario", "story"),
        [
            (name, textwrap.shorten(" ".join(parsed.comments), room, placeholder=" ..."))
            for name, parsed in stories.items()
        ],
    )


@command.command("show")
@click.argument("name")
@json_option
def show_command(name: str, *, as_json: bool) -> None:
    """Print the text of a scenario, which `shootdown replay` takes as a file."""
    text = corpus_text(name)
    if as_json:
        print_json(_document(name.removesuffix(corpus.SUFFIX), parse(text)))
    else:
        click.echo(text, nl=False)


def _document(name: str, parsed: ParsedScenario) -> dict[str, object]:
    return {
        "name": name,
        "story": list(parsed.comments),
        "expectations": [expected._asdict() for expected in parsed.expectations],
    }
