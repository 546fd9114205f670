"""The engines, each declared once; this module imports none of the models, which some engines instrument first.

Everything else about engines is computed from it: the choices of `shootdown fuzz --engine`, the form of the models that
a worker loads, the engines that run in the caller's process (shootdown/api.py), and the table of docs/campaigns.md.
"""

from contextlib import suppress
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Final, NamedTuple

import shootdown.fuzz.engines
from shootdown.fuzz.engines.garbage import seldom_collected

if TYPE_CHECKING:
    from shootdown.fuzz.engines.session import Session


class Engine(NamedTuple):
    """The declaration of one engine; a missing field raises TypeError when this module is imported.

    `name`: the word that `--engine` accepts.
    `module`: the module of its function `fuzz_NAME`, which drives a session until the session raises Finished; the
    module is imported when the engine runs.
    `summary`: what chooses the inputs, in one line.
    `feedback`: it uses the features that Session.run returns; they are not computed for the other engines.
    `instrumented`: it needs the models instrumented, and so interpreted.
    `in_process`: it leaves a process unchanged; libFuzzer, for example, can run only once in a process.
    """

    name: str
    module: str
    summary: str
    feedback: bool
    instrumented: bool
    in_process: bool


ENGINES: Final[dict[str, Engine]] = {
    each.name: each
    for each in (
        Engine(
            name="atheris",
            module="atheris_engine",
            summary="libFuzzer, guided by the semantic features",
            feedback=True,
            instrumented=False,
            in_process=False,
        ),
        Engine(
            name="loop",
            module="loop_engine",
            summary="a plain corpus loop, guided by the same features",
            feedback=True,
            instrumented=False,
            in_process=True,
        ),
        Engine(
            name="random",
            module="random_engine",
            summary="the generator alone, without feedback",
            feedback=False,
            instrumented=False,
            in_process=True,
        ),
        Engine(
            name="hypothesis",
            module="hypothesis_engine",
            summary="the strategies of Hypothesis; good for small scopes, slow for campaigns",
            feedback=False,
            instrumented=False,
            in_process=True,
        ),
        Engine(
            name="coverage",
            module="atheris_engine",
            summary="for comparison: libFuzzer, guided by code coverage of the models",
            feedback=False,
            instrumented=True,
            in_process=False,
        ),
        Engine(
            name="stock",
            module="atheris_engine",
            summary="for comparison: as `coverage`, with libFuzzer's own mutations of the bytes, no generated inputs",
            feedback=False,
            instrumented=True,
            in_process=False,
        ),
    )
}
DEFAULT_ENGINE: Final = "atheris"

_THERE = {each.name for each in iter_modules(shootdown.fuzz.engines.__path__)}
_UNDECLARED = {name for name in _THERE if name.endswith("_engine")} ^ {
    each.module for each in ENGINES.values()
}
if _UNDECLARED:
    _message = f"{', '.join(sorted(_UNDECLARED))}: no such module, or no engine of fuzz/engines/registry.py is in it"
    raise ValueError(_message)


def drive(engine: str, session: "Session") -> None:
    """Run an engine of ENGINES until the session is finished."""
    from shootdown.fuzz.engines.session import Finished  # noqa: PLC0415 - it imports the models

    module = import_module(f"shootdown.fuzz.engines.{ENGINES[engine].module}")
    with suppress(Finished), seldom_collected():
        getattr(module, f"fuzz_{engine}")(session)
