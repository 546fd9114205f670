"""The machine compared with QEMU's MMU: ten million events, the sabotage table, and whole scenarios on it.

    python -m bench.conform_qemu [events|sabotage|scenarios] [--events 10000000] [--scenarios 5000] [--seed 1]

Without a name all three run. The exit code is 1 if an event has an outcome that nothing explains, if a sabotaged
machine is not found within ten CPU seconds, or if a scenario shows on QEMU's MMU what the machine, restricted to QEMU's
behaviour, does not show.
"""

import argparse
import sys
import time
from collections import Counter
from random import Random

from shootdown.conform.qemu.campaign import MOST_DISAGREEMENTS, finished, run
from shootdown.conform.qemu.like import LikeQemu
from shootdown.conform.qemu.sabotage import SABOTAGES
from shootdown.conform.qemu.sides import MODES
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.machine.qemu.machine import QemuMachine
from shootdown.machine.x86 import Machine
from shootdown.mm.world import FlushStrategy
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import Scenario
from shootdown.scenario.corpus import load

LIMIT = 10.0
"""CPU seconds within which a sabotaged machine must be found."""
MOST_EVENTS = 400_000
"""Events of a search for a sabotaged machine: more than ten CPU seconds."""
POLICIES = ("linux", "v1")
"""The policies of the random scenarios: an unbroken one, and one of which QEMU shows less."""
RECORDS = 32
PART = 1_000_000
"""Events between two lines of progress."""


def events(number: int, seed: int) -> bool:
    """Compare that many events; print the figures, and return whether everything is explained."""
    started = time.process_time()
    total: Counter[str] = Counter()
    explained: Counter[str] = Counter()
    disagreements = 0
    while total["events"] < number and disagreements < MOST_DISAGREEMENTS:
        left = min(PART, number - total["events"])
        part = finished(run(seed, events=left, first=total["sequences"]))
        total["sequences"] += part.sequences
        total["events"] += part.events
        total["accesses"] += part.accesses
        explained += part.explained
        disagreements += len(part.disagreements)
        for found in part.disagreements:
            print(f"{found.case}{found.what}: machine {found.machine}; QEMU {found.qemu}\n")
        spent = time.process_time() - started
        print(f"  {total['events']:,} events in {spent:,.0f} CPU s", flush=True)
    spent = time.process_time() - started
    print(
        f"Seed {seed}: {total['sequences']:,} sequences, {total['events']:,} events,"
        f" {total['accesses']:,} accesses in {spent:,.0f} CPU s ({total['events'] / spent:,.0f}/s)."
    )
    for name, count in sorted(explained.items()):
        print(f"  explained by {name}: {count:,} accesses")
    print(f"Unexplained: {disagreements}")
    return not disagreements


def sabotage(seed: int) -> bool:
    """Search for each sabotaged machine in both modes; print the table, and return whether all were found in time."""
    print(f"{'machine':24}{'mode that has found it':26}{'sequences':>10}{'events':>10}{'CPU s':>8}")
    good = True
    for sabotaged in SABOTAGES:
        modes = [mode for mode in MODES if _finds(mode, sabotaged, seed)]
        started = time.process_time()
        result = finished(run(seed, events=MOST_EVENTS, machine_type=sabotaged, most=1))
        spent = time.process_time() - started
        found = bool(result.disagreements) and spent <= LIMIT
        good &= found
        print(
            f"{sabotaged.__name__:24}{', '.join(modes):26}{result.sequences:10,}{result.events:10,}"
            f"{spent:8.2f}{'' if found else '  NOT FOUND'}",
            flush=True,
        )
    return good


def _finds(mode: str, sabotaged: type[Machine], seed: int) -> bool:
    search = run(seed, mode=mode, sequences=400, machine_type=sabotaged, most=1)
    return bool(finished(search).disagreements)


def scenarios(number: int, seed: int) -> bool:
    """Run the corpus and random scenarios on QEMU's MMU; print the table, and return whether everything is
    explained.
    """
    table: Counter[tuple[str, str, str]] = Counter()
    wrong = []
    started = time.process_time()
    for name, parsed in load().items():
        for expected in parsed.expectations:
            strategy = REGISTRY[expected.policy].make()
            wanted = f"{expected.rule} {expected.reason}".strip() or "legal"
            kind = "legal" if wanted == "legal" else "illegal"
            how = _agreement(parsed.scenario, strategy, wanted)
            table["corpus", kind, how.partition(":")[0]] += 1
            if how != _SAME:
                print(f"  {name}, {expected.policy}: {wanted}; {how}")
            if how.startswith(_ODD):
                wrong.append(name)
    for policy in POLICIES:
        strategy = REGISTRY[policy].make()
        for i in range(number):
            scenario = random_scenario(Random(f"{seed} {i}"), RECORDS)
            wanted = _shown(scenario, strategy, Machine)
            how = _agreement(scenario, strategy, wanted)
            kind = "legal" if wanted == "legal" else "illegal"
            table[f"random, {policy}", kind, how.partition(":")[0]] += 1
            if how.startswith(_ODD):
                wrong.append(f"{policy} {seed} {i}: {wanted}; {how}")
    print(f"{'scenarios':20}{'on the machine':16}{'on QEMU':42}{'number':>8}")
    for (origin, kind, how), count in sorted(table.items()):
        print(f"{origin:20}{kind:16}{how:42}{count:8,}")
    print(f"{time.process_time() - started:,.0f} CPU s")
    for line in wrong:
        print(f"NOT EXPLAINED: {line}")
    return not wrong


_SAME = "the same"
_ODD = "something else"


def _shown(scenario: Scenario, strategy: FlushStrategy, machine_type: type[Machine]) -> str:
    outcome = execute(scenario, strategy, machine_type=machine_type)
    return " ".join(filter(None, (outcome.rule, outcome.reason))) or outcome.verdict


def _agreement(scenario: Scenario, strategy: FlushStrategy, wanted: str) -> str:
    """Return how the results on QEMU's MMU compare with those on the machine."""
    on_qemu = _shown(scenario, strategy, QemuMachine)
    if on_qemu == wanted:
        return _SAME
    like = _shown(scenario, strategy, LikeQemu)
    how = "as the machine restricted to QEMU" if like == on_qemu else _ODD
    return f"{how}: {on_qemu}"


def main() -> int:
    """Run the requested parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", nargs="?", choices=["events", "sabotage", "scenarios"])
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--scenarios", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    good = True
    if options.part in (None, "sabotage"):
        good &= sabotage(options.seed)
    if options.part in (None, "scenarios"):
        good &= scenarios(options.scenarios, options.seed)
    if options.part in (None, "events"):
        good &= events(options.events, options.seed)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
