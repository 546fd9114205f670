"""libFuzzer through atheris, guided by semantic features or, for comparison, by code coverage.

libFuzzer keeps the corpus and picks; inputs are changed as whole records by our own mutator and crossover, and never
trimmed: its byte mutations and its preference for short inputs are a poor fit for scenarios.
A process can do this once.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from fuzz.engines.session import Finished, Session
from fuzz.features import FEATURES
from fuzz.scenario import encode
from fuzz.scenario.generate import random_scenario
from fuzz.scenario.mutate import crossover

FIRST = 20
"""Random scenarios that start a corpus."""
INTERRUPTED = 130
"""What Fuzz() exits with after KeyboardInterrupt in the target, its clean end."""


class MutatorSilentError(Exception):
    """libFuzzer has run more than its seeds and never called the custom mutator."""


def fuzz_atheris(session: Session) -> None:
    """Fuzz with semantic features until the session is finished."""
    import atheris  # noqa: PLC0415 - loads libFuzzer into the process, which only this engine wants

    # Counter ids start at 1. The two names are not public, but in every 3.x release; a table of instrumented empty
    # functions is the public way to the same counters and costs a microsecond more for each feature of each run.
    counters = [atheris._reserve_counter() for _ in range(FEATURES + 1)]  # noqa: SLF001

    def target(data: bytes) -> None:
        # Looked up at each call, because Fuzz() rebinds it.
        mark = atheris._trace_branch  # noqa: SLF001
        mark(counters[FEATURES])
        for feature in session.run(data):
            mark(counters[feature])

    _fuzz(session, target)


def fuzz_coverage(session: Session) -> None:
    """Fuzz with code coverage of the models, which fuzz.engines.instrument has instrumented."""
    import atheris  # noqa: PLC0415 - see fuzz_atheris

    spare = atheris._reserve_counter()  # noqa: SLF001 - a run that bumps nothing would end the campaign

    def target(data: bytes) -> None:
        atheris._trace_branch(spare)  # noqa: SLF001
        session.run(data)

    _fuzz(session, target)


def _fuzz(session: Session, target: Callable[[bytes], None]) -> None:
    import atheris  # noqa: PLC0415 - see fuzz_atheris

    calls = 0

    def guarded(data: bytes) -> None:
        try:
            target(data)
        except Finished:
            # The one exception that ends Fuzz() in a way that Python code can go on behind.
            raise KeyboardInterrupt from None

    def change(data: bytes, _max_size: int, seed: int) -> bytes:
        nonlocal calls
        calls += 1
        return session.vary(Random(seed), bytes(data))

    def cross(first: bytes, second: bytes, _max_size: int, seed: int) -> bytes:
        return crossover(Random(seed), bytes(first), bytes(second), session.records)

    size = 4 * (session.records + 1)
    rng = Random(session.seed)
    with tempfile.TemporaryDirectory(prefix="shootdown-") as folder:
        first = [encode(random_scenario(rng, session.records)) for _ in range(FIRST)]
        for i, data in enumerate([*session.corpus, *first]):
            (Path(folder) / f"seed{i:05}").write_bytes(data[:size])
        options = [
            f"-max_len={size}",
            f"-seed={session.seed % 2**31 + 1}",
            "-len_control=0",
            "-reduce_inputs=0",
            "-rss_limit_mb=0",
            "-timeout=3600",
            "-verbosity=0",
        ]
        atheris.Setup(
            [sys.argv[0], *options, folder], guarded, custom_mutator=change, custom_crossover=cross
        )
        try:
            atheris.Fuzz()
        except SystemExit as end:
            if end.code != INTERRUPTED:
                raise
    # Twice the seeds: libFuzzer may run a seed again, and a campaign may end while it is still reading them.
    if not calls and session.executions > 2 * (len(session.corpus) + FIRST):
        raise MutatorSilentError(MutatorSilentError.__doc__)
