"""One run of one engine against one fault: until the rule that the fault names fires, or a limit of CPU seconds.

    python -m bench.hunt ENGINE FAULT SEED [--limit 60] [--records 32] [--no-corpus] [--stages]

The command prints one JSON object. The corpus seeds the engine, except for the scenarios on which the fault shows
anything illegal.
"""

import argparse
import json
import os
import sys
import time

from shootdown.fuzz.engines.instrument import instrument_models
from shootdown.fuzz.engines.registry import ENGINES, drive


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", choices=list(ENGINES))
    parser.add_argument("fault")
    parser.add_argument("seed", type=int)
    parser.add_argument("--limit", type=float, default=60.0, help="CPU seconds")
    parser.add_argument("--records", type=int, default=32)
    parser.add_argument("--no-corpus", action="store_true")
    parser.add_argument(
        "--stages", action="store_true", help="tell also when the fault was reached and triggered"
    )
    options = parser.parse_args()
    engine = ENGINES[options.engine]
    if engine.instrumented:
        instrument_models()
    # These come after the instrumentation, which must see the first import of the models.
    from bench.stages import Stages  # noqa: PLC0415
    from shootdown.fuzz.engines.session import Session  # noqa: PLC0415
    from shootdown.optimized.policies import REGISTRY  # noqa: PLC0415
    from shootdown.run.execute import Observe, Outcome, execute  # noqa: PLC0415
    from shootdown.scenario import Scenario, corpus, encode  # noqa: PLC0415
    from shootdown.scenario.verdict import ILLEGAL  # noqa: PLC0415

    policy = REGISTRY[options.fault]
    if policy.fault is None:
        parser.error(f"{options.fault} is not a seeded fault")
    strategy = policy.make()
    seeds = (
        []
        if options.no_corpus
        else [
            encode(parsed.scenario)
            for parsed in corpus.load().values()
            if execute(parsed.scenario, strategy).verdict != ILLEGAL
        ]
    )
    found: dict[str, float] = {}
    reasons: dict[str, int] = {}
    start = time.process_time()

    class Report:
        """Notes the first failure by the named rule, and by any rule."""

        def failure(self, _data: bytes, outcome: Outcome) -> None:
            now = round(time.process_time() - start, 2)
            reasons.setdefault(outcome.reason, session.executions)
            found.setdefault("any_executions", session.executions)
            found.setdefault("any_seconds", now)
            if policy.fault is not None and outcome.rule == policy.fault.rule:
                found.setdefault("executions", session.executions)
                found.setdefault("seconds", now)

        def interesting(self, _data: bytes) -> None:
            """Do nothing: no corpus is kept besides the engine's own."""

    stages = Stages(policy)

    class Staged(Session):
        """Records the stages of each execution."""

        def _execute(
            self, scenario: Scenario, data: bytes | None, watch: Observe | None, shown: set[int]
        ) -> Outcome:
            outcome = super()._execute(scenario, data, watch, shown)
            stages.executed(self.executions, scenario, outcome)
            return outcome

    session = (Staged if options.stages else Session)(
        stages.policy if options.stages else policy,
        seed=options.seed,
        records=options.records,
        corpus=seeds,
        report=Report(),
        stop=lambda: "seconds" in found or time.process_time() - start > options.limit,
        feedback=engine.feedback,
    )
    real = os.dup(1)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    drive(options.engine, session)
    result = {
        "engine": options.engine,
        "fault": options.fault,
        "seed": options.seed,
        "seeded": not options.no_corpus,
        "found": "seconds" in found,
        "total_executions": session.executions,
        "reasons": reasons,
        "features": len(session.features),
        "corpus": session.corpus_size,
        "total_seconds": round(time.process_time() - start, 2),
        **found,
    }
    if options.stages:
        result |= {"reached": stages.reached or None, "triggered": stages.triggered or None}
    os.write(real, (json.dumps(result) + "\n").encode())
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
