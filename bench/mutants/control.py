"""Whether the unmutated models are quiet on the inputs that ran against the mutants."""

from collections.abc import Iterator, Sequence
from random import Random

from bench.mutants.mutant import draw
from bench.mutants.one import LEGAL, POLICY, RECORDS, Result
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import encode
from shootdown.scenario.verdict import ILLEGAL


def control(results: Sequence[Result]) -> Iterator[str]:
    """Yield a line for each mutant on whose inputs the unmutated models show something illegal, or raise.

    For a mutant that was killed or crashed, these are the inputs up to the last one; the scenario that killed it is one
    of them, unless the generator has changed since then.
    """
    strategy = REGISTRY[POLICY].make()
    for result in results:
        if result["verdict"] == LEGAL:
            continue
        name, seed = str(result["mutant"]), int(str(result["seed"]))
        rng = Random(int(draw(name, seed)[:16], 16))
        data = b""
        for at in range(int(str(result["executions"]))):
            scenario = random_scenario(rng, RECORDS)
            data = encode(scenario)
            outcome = execute(scenario, strategy)
            if outcome.verdict == ILLEGAL:
                yield f"{name}: input {at + 1} is {outcome.reason} without the mutant as well"
        if data.hex() != result["scenario"]:
            yield f"{name}: the inputs are not the same any more"
