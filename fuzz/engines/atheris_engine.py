"""libFuzzer through atheris, guided by semantic features or, for comparison, by code coverage.

libFuzzer keeps the corpus and picks inputs. This package's own mutator and crossover change them as whole records and
never trim them: libFuzzer's byte mutations and its preference for short inputs fit scenarios badly. For comparison
there is also the stock way: code coverage, and libFuzzer's own mutations of the bytes. A process can do only one of
them, and only once.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from shootdown.fuzz.engines.session import Finished, Session
from shootdown.fuzz.features import FEATURES
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.scenario import encode

FIRST = 20
"""Random scenarios that start a corpus."""
INTERRUPTED = 130
"""The exit code of Fuzz() after KeyboardInterrupt in the target, which is its clean end."""

_QUIET: Final = ("-rss_limit_mb=0", "-timeout=3600", "-verbosity=0")
_KEEP_LONG: Final = ("-len_control=0", "-reduce_inputs=0")


class MutatorSilentError(Exception):
    """libFuzzer has run more inputs than its seeds and never called the custom mutator."""


def fuzz_atheris(session: Session) -> None:
    """Fuzz with semantic features until the session is finished."""
    import atheris  # noqa: PLC0415 - loads libFuzzer into the process, which only this engine needs

    # Counter ids start at 1. The two names are not public, but exist in every 3.x release. The public way to the same
    # counters is a table of instrumented empty functions, which costs a microsecond more for each feature of each run.
    counters = [atheris._reserve_counter() for _ in range(FEATURES + 1)]  # noqa: SLF001

    def target(data: bytes) -> None:
        # Looked up at each call, because Fuzz() rebinds it.
        mark = atheris._trace_branch  # noqa: SLF001
        mark(counters[FEATURES])
        for feature in session.run(data):
            mark(counters[feature])

    _fuzz(session, target)


def fuzz_coverage(session: Session) -> None:
    """Fuzz with code coverage of the models that fuzz.engines.instrument has instrumented."""
    _fuzz_covered(session, by_record=True)


def fuzz_stock(session: Session) -> None:
    """Fuzz like fuzz_coverage, but with libFuzzer's own mutations and without generated inputs.

    This is what one gets without any knowledge of scenarios except their encoding, in which every byte string is one.
    """
    _fuzz_covered(session, by_record=False)


def _fuzz_covered(session: Session, *, by_record: bool) -> None:
    import atheris  # noqa: PLC0415 - see fuzz_atheris

    spare = atheris._reserve_counter()  # noqa: SLF001 - a run that bumps nothing would end the campaign

    def target(data: bytes) -> None:
        atheris._trace_branch(spare)  # noqa: SLF001
        session.run(data)

    _fuzz(session, target, by_record=by_record)


def _fuzz(session: Session, target: Callable[[bytes], None], *, by_record: bool = True) -> None:
    import atheris  # noqa: PLC0415 - see fuzz_atheris

    calls = 0

    def guarded(data: bytes) -> None:
        try:
            target(data)
        except Finished:
            # This is the only exception that ends Fuzz() so that Python code can go on.
            raise KeyboardInterrupt from None

    def change(data: bytes, _max_size: int, seed: int) -> bytes:
        nonlocal calls
        calls += 1
        return session.vary(Random(seed), bytes(data))

    def cross(first: bytes, second: bytes, _max_size: int, seed: int) -> bytes:
        return session.cross(Random(seed), bytes(first), bytes(second))

    size = 4 * (session.records + 1)
    rng = Random(session.seed)
    with tempfile.TemporaryDirectory(prefix="shootdown-") as folder:
        first = [
            encode(random_scenario(rng, session.records, session.pauses)) for _ in range(FIRST)
        ]
        for i, data in enumerate([*session.corpus, *(first if by_record else ())]):
            (Path(folder) / f"seed{i:05}").write_bytes(data[:size])
        options = [f"-max_len={size}", f"-seed={session.seed % 2**31 + 1}", *_QUIET]
        if by_record:
            atheris.Setup(
                [sys.argv[0], *options, *_KEEP_LONG, folder],
                guarded,
                custom_mutator=change,
                custom_crossover=cross,
            )
        else:
            atheris.Setup([sys.argv[0], *options, folder], guarded)
        try:
            atheris.Fuzz()
        except SystemExit as end:
            if end.code != INTERRUPTED:
                raise
    # Twice the seeds: libFuzzer may run a seed again, and a campaign may end while libFuzzer still reads the seeds.
    if by_record and not calls and session.executions > 2 * (len(session.corpus) + FIRST):
        raise MutatorSilentError(MutatorSilentError.__doc__)
