"""Executions per second with feedback on, and the ratio to a Hypothesis state machine over the same two models.

    python -m bench.throughput [--seconds 10] [--profile]

Both sides run in turn in this process, on CPU time: a session as the engines use it (decode, execute the optimized
model, drive the reference's history, features), on mutated scenarios of 32 records; and a RuleBasedStateMachine whose
rules apply one record each to the same world under the same oracle, with up to 32 steps.
"""

import argparse
import cProfile
import json
import pstats
import statistics
import time
from random import Random

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from fuzz.engines.session import Session
from fuzz.execute import Outcome, apply, boot, finish
from fuzz.scenario import Header, encode, kinds
from fuzz.scenario.generate import random_scenario
from fuzz.scenario.mutate import mutate
from optimized.policies import REGISTRY

RECORDS = 32
POLICY = REGISTRY["linux"]


class Silent:
    """A report that drops everything."""

    def failure(self, data: bytes, outcome: Outcome) -> None:
        """The bench's policy shows nothing illegal; a campaign says so, not a bench."""

    def interesting(self, data: bytes) -> None:
        """The bench keeps no corpus."""


def session_rate(seconds: float, turn: int) -> float:
    """Return executions per CPU second of a session with feedback."""
    rng = Random(turn)
    pool = [encode(random_scenario(rng, RECORDS)) for _ in range(50)]
    session = Session(
        POLICY, seed=turn, records=RECORDS, corpus=[], report=Silent(), stop=lambda: False
    )
    start = time.process_time()
    while time.process_time() - start < seconds:
        for data in pool:
            session.run(mutate(rng, data, RECORDS))
    return session.executions / (time.process_time() - start)


class Kernel(RuleBasedStateMachine):
    """One world; each rule applies one record."""

    machines = 0

    def __init__(self) -> None:
        super().__init__()
        Kernel.machines += 1
        self.world, self.oracle = boot(Header(2, 4, 0, 0, 2, 2), POLICY.make())

    @rule(
        kind=st.integers(0, kinds.EVICT),
        cpu=st.integers(0, 1),
        run=st.integers(0, 28),
        page=st.integers(0, 3),
        count=st.integers(1, 4),
        arg=st.integers(0, 7),
    )
    def record(self, kind: int, cpu: int, run: int, page: int, count: int, arg: int) -> None:
        """Apply one record with the fields that its kind allows."""
        if kind in (kinds.SWITCH, kinds.MIGRATE, kinds.RECLAIM, kinds.AGE):
            arg %= 3
        apply(self.world, (kind, cpu, run, page, min(count, 4 - page), arg))

    def teardown(self) -> None:
        """Drain the world and check it at rest."""
        for cpu in range(2):
            finish(self.world, cpu)
        self.oracle.at_rest()


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
        profile.runcall(session_rate, options.seconds, 1)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    ours, theirs = [], []
    for turn in range(options.rounds):
        ours.append(session_rate(options.seconds, turn))
        theirs.append(machine_rate(options.seconds, turn))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    result = {
        "executions_per_second": round(statistics.median(ours), 1),
        "state_machines_per_second": round(statistics.median(theirs), 2),
        "ratio": round(statistics.median(ratios), 1),
        "ratio_min": round(min(ratios), 1),
        "ratio_max": round(max(ratios), 1),
    }
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:28}{value}")


if __name__ == "__main__":
    main()
