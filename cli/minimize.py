"""`shootdown minimize`: reduce a scenario of one's own to its canonical minimum."""

import click

from shootdown.cli.exit_codes import ILLEGAL_FOUND, OK
from shootdown.cli.options import json_option
from shootdown.cli.output import print_json
from shootdown.evidence.skip import guilty_skip
from shootdown.minimize import minimize
from shootdown.optimized.policy_source import blamed, load_policy
from shootdown.run.execute import execute
from shootdown.scenario import Expectation, Scenario, encode, render
from shootdown.scenario.source import read_scenario
from shootdown.scenario.verdict import ILLEGAL


@click.command("minimize")
@click.argument("file")
@click.option(
    "--policy", required=True, metavar="NAME|FILE", help="The policy that it fails under."
)
@click.option(
    "--budget", type=click.IntRange(1), default=1000, show_default=True, help="Runs at most."
)
@json_option
def command(file: str, *, policy: str, budget: int, as_json: bool) -> int:
    """Print the smallest scenario that still shows the same violation, as a text that can be replayed.

    FILE is a scenario as text, or the binary input of a fuzzer.
    """
    scenario = read_scenario(file).scenario
    loaded = load_policy(policy)
    with blamed(loaded):
        outcome = execute(scenario, loaded.policy.make())
        if outcome.verdict != ILLEGAL:
            click.echo(f"{file} shows nothing illegal under {loaded.name}.", err=True)
            return OK
        wanted = (outcome.rule, outcome.reason)

        def interesting(candidate: Scenario) -> bool:
            shown = execute(candidate, loaded.policy.make())
            return shown.verdict == ILLEGAL and (shown.rule, shown.reason) == wanted

        smaller = minimize(scenario, interesting, budget=budget)
        skip = guilty_skip(execute(smaller.scenario, loaded.policy.make()))
    before, after = len(scenario.records), len(smaller.scenario.records)
    if as_json:
        print_json(
            {
                "scenario": render(smaller.scenario),
                "bytes": encode(smaller.scenario).hex(),
                "rule": outcome.rule,
                "reason": outcome.reason,
                "skip": skip,
                "records_before": before,
                "records": after,
                "runs": smaller.runs,
                "complete": smaller.complete,
            }
        )
        return ILLEGAL_FOUND
    story = [f"{file}, from {before} records to {after} in {smaller.runs} runs"]
    if not smaller.complete:
        story.append("not finished: a larger --budget may make it smaller")
    expected = Expectation(loaded.name, outcome.rule, outcome.reason)
    click.echo(render(smaller.scenario, story, [expected]), nl=False)
    return ILLEGAL_FOUND
