"""The engines by name. Each drives a session until the session is finished."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from shootdown.fuzz.engines.atheris_engine import fuzz_atheris, fuzz_coverage, fuzz_stock
from shootdown.fuzz.engines.garbage import seldom_collected
from shootdown.fuzz.engines.loop_engine import fuzz_loop
from shootdown.fuzz.engines.random_engine import fuzz_random
from shootdown.fuzz.engines.session import Finished, Session

Engine = Callable[[Session], None]


def _hypothesis(session: Session) -> None:
    # Imported late: Hypothesis takes as long as all else that a campaign imports.
    from shootdown.fuzz.engines.hypothesis_engine import fuzz_hypothesis  # noqa: PLC0415 - see above

    fuzz_hypothesis(session)


ENGINES: Final[dict[str, Engine]] = {
    "atheris": fuzz_atheris,
    "loop": fuzz_loop,
    "random": fuzz_random,
    "hypothesis": _hypothesis,
    "coverage": fuzz_coverage,
    "stock": fuzz_stock,
}
DEFAULT_ENGINE: Final = "atheris"
FEEDBACK: Final = frozenset({"atheris", "loop"})
"""Engines that use the semantic features; the others are run without computing them."""
IN_PROCESS: Final = frozenset({"loop", "random", "hypothesis"})
"""Engines that leave a process as it was; the others are libFuzzer, which a process can run once."""


def drive(engine: str, session: Session) -> None:
    """Run an engine of ENGINES until the session is finished."""
    with suppress(Finished), seldom_collected():
        ENGINES[engine](session)
