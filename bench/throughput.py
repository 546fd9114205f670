"""Executions per second with feedback, and the ratio to a Hypothesis state machine over the same two models.

    python -m bench.throughput [--seconds 5] [--rounds 5] [--profile] [--json]

The sides run in turn in this process, on CPU time, with scenarios of 32 records:

* a session as the engines use it: mutate, decode, execute the optimized model, drive the reference's history, features;
  its inputs are those of campaigns, mutants of generated scenarios, and the state machine's own distribution of
  records;
* a RuleBasedStateMachine with a rule for each kind of record, as one writes it: each field drawn uniformly from what
  the kind allows, the record applied to the same world under the same oracle, up to 32 steps, no features.

A generated record costs less than a uniform one: half of the generated records are accesses, but only a seventh of the
uniform ones.
"""

import argparse
import cProfile
import json
import pstats
import statistics
import time
from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from shootdown.fuzz.engines.garbage import seldom_collected
from shootdown.fuzz.engines.session import Session
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.fuzz.inputs.mutate import mutate
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import Outcome, apply, boot, finish
from shootdown.scenario import Header, Scenario, encode, kinds

RECORDS = 32
POLICY = REGISTRY["linux"]


class Silent:
    """A report that drops everything."""

    def failure(self, data: bytes, outcome: Outcome) -> None:
        """Do nothing: the policy of the bench shows nothing illegal, as campaigns have checked."""

    def interesting(self, data: bytes) -> None:
        """Do nothing: the bench keeps no corpus."""


RUNS = (*range(kinds.FIRST_POINT), *kinds.pauses_at(POLICY.make().points()))
HEADER = Header(cpus=2, pages=4, layout=0, machine=0, asids=2, batch=2)


def uniform_scenario(rng: Random) -> bytes:
    """Return a scenario over HEADER with every byte of every record drawn uniformly."""
    return encode(Scenario(HEADER, ())) + rng.randbytes(4 * RECORDS)


def generated_scenario(rng: Random) -> bytes:
    """Return a scenario as a campaign generates it."""
    return encode(random_scenario(rng, RECORDS))


def session_rate(seconds: float, turn: int, draw: Callable[[Random], bytes]) -> float:
    """Return executions per CPU second of a session with feedback, on mutants that keep their header."""
    rng = Random(turn)
    pool = [draw(rng) for _ in range(50)]
    session = Session(
        POLICY, seed=turn, records=RECORDS, corpus=[], report=Silent(), stop=lambda: False
    )
    start = time.process_time()
    with seldom_collected():
        while time.process_time() - start < seconds:
            for data in pool:
                session.run(data[:4] + mutate(rng, data, RECORDS)[4:])
    return session.executions / (time.process_time() - start)


class Kernel(RuleBasedStateMachine):
    """One world; each rule applies one record."""

    machines = 0

    def __init__(self) -> None:
        super().__init__()
        Kernel.machines += 1
        self.world, self.oracle = boot(HEADER, POLICY.make())

    def record(self, kind: int, cpu: int, run: int, page: int, count: int, arg: int) -> None:
        """Apply one record."""
        apply(self.world, (kind, cpu, run, page, min(count, HEADER.pages - page), arg))

    def teardown(self) -> None:
        """Drain the world and check it at rest."""
        for cpu in range(HEADER.cpus):
            finish(self.world, cpu)
        self.oracle.at_rest()


def rule_of(kind: int) -> Callable[[Kernel], None]:
    """Return the rule that draws the fields of a kind and applies the record."""
    _, used, pausable, argument, _ = kinds.KINDS[kind]
    values = HEADER.pages if argument.of_pages else len(argument.names)
    drawn: dict[str, st.SearchStrategy[int]] = {"cpu": st.integers(0, HEADER.cpus - 1)}
    if pausable:
        drawn["run"] = st.sampled_from(RUNS)
    if used != "none":
        drawn["page"] = st.integers(0, HEADER.pages - 1)
    if used == "range":
        drawn["count"] = st.integers(1, HEADER.pages)
    if values > 1:
        drawn["arg"] = st.integers(0, values - 1)

    def record(
        self: Kernel, cpu: int, run: int = 0, page: int = 0, count: int = 1, arg: int = 0
    ) -> None:
        self.record(kind, cpu, run, page, count, arg)

    record.__name__ = kinds.KINDS[kind].name
    # Its overloads cannot distinguish strategies given by keyword from its own two options.
    decorator: Any = rule
    made: Callable[[Kernel], None] = decorator(**drawn)(record)
    return made


for number, described in enumerate(kinds.KINDS):
    setattr(Kernel, f"apply_{described.name}", rule_of(number))


def machine_rate(seconds: float, turn: int) -> float:
    """Return state machines per CPU second."""
    chosen = settings(
        max_examples=50,
        stateful_step_count=RECORDS,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    Kernel.machines = 0
    start = time.process_time()
    while time.process_time() - start < seconds:
        run_state_machine_as_test(seed(turn)(Kernel), settings=chosen)
        turn += 1000
    return Kernel.machines / (time.process_time() - start)


def spread(name: str, ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Return median, minimum and maximum of the ratio, round by round."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        name: round(statistics.median(ratios), 1),
        f"{name}_min": round(min(ratios), 1),
        f"{name}_max": round(max(ratios), 1),
    }


def main() -> None:
    """Print medians of interleaved rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="CPU seconds of each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="where the session's time goes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(session_rate, options.seconds, 1, generated_scenario)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    campaign, uniform, machine = [], [], []
    for turn in range(options.rounds):
        campaign.append(session_rate(options.seconds, turn, generated_scenario))
        machine.append(machine_rate(options.seconds, turn))
        uniform.append(session_rate(options.seconds, turn, uniform_scenario))
    result = {
        "executions_per_second": round(statistics.median(campaign), 1),
        "state_machines_per_second": round(statistics.median(machine), 2),
        **spread("ratio", campaign, machine),
        "executions_per_second_same_records": round(statistics.median(uniform), 1),
        **spread("ratio_same_records", uniform, machine),
    }
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:38}{value}")


if __name__ == "__main__":
    main()
