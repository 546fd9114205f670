"""Instrumentation of the models for code coverage. It imports no model: a loaded one would stay uninstrumented."""

import importlib
import sys
from typing import Final

MODELS: Final = ("shootdown.machine", "shootdown.mm", "shootdown.optimized", "shootdown.reference")


class ModelsLoadedError(Exception):
    """A model was imported before it could be instrumented."""


def instrument_models() -> None:
    """Import the models instrumented, in a process that has imported none of them.

    Errors: ModelsLoadedError.
    """
    import atheris  # noqa: PLC0415 - loads libFuzzer into the process, which only this engine needs

    loaded = [name for name in sys.modules if ".".join(name.split(".")[:2]) in MODELS]
    if loaded:
        raise ModelsLoadedError(f"already imported: {', '.join(sorted(loaded))}")
    with atheris.instrument_imports(include=list(MODELS), enable_loader_override=False):
        for name in (
            "shootdown.mm.operations",
            "shootdown.optimized.policies",
            "shootdown.reference.eager",
            "shootdown.reference.history",
        ):
            importlib.import_module(name)
