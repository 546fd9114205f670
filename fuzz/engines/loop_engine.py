"""A plain corpus loop with record-level mutation, driven by the semantic features."""

from random import Random

from shootdown.fuzz.engines.session import NEWEST, Session
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.scenario import encode

FIRST = 20
"""Random scenarios that start a corpus."""


def fuzz_loop(session: Session) -> None:
    """Keep every input that shows a new feature; vary and splice the kept inputs until the session is finished.

    Half of the picks are among the newest.
    """
    rng = Random(session.seed)
    corpus: list[bytes] = []

    def attempt(data: bytes) -> None:
        known = len(session.features)
        session.run(data)
        if len(session.features) > known:
            corpus.append(data)

    for data in session.corpus:
        attempt(data)
    for _ in range(FIRST):
        attempt(encode(random_scenario(rng, session.records, session.pauses)))

    def pick() -> bytes:
        if rng.random() < 0.5:
            return corpus[rng.randrange(max(0, len(corpus) - NEWEST), len(corpus))]
        return rng.choice(corpus)

    while True:
        attempt(session.cross(rng, pick(), pick()))
