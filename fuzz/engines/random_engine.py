"""Plain random: generated scenarios without feedback."""

from random import Random

from shootdown.fuzz.engines.session import Session
from shootdown.fuzz.inputs.generate import random_scenario


def fuzz_random(session: Session) -> None:
    """Run generated scenarios until the session is finished; the seed corpus runs first."""
    for data in session.corpus:
        session.run(data)
    rng = Random(session.seed)
    while True:
        session.run_scenario(random_scenario(rng, session.records, session.pauses))
