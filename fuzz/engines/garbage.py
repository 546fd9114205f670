"""How often the interpreter collects garbage while an engine runs."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

OBJECTS: Final = 50_000
"""Objects between two collections of the youngest generation: almost nothing here is cyclic, and the interpreter's
default of 700 to 2,000 costs 1.8 % of the time.
"""
_FROZEN_AT_START: Final = 1_000
"""Python 3.12 starts with 375 frozen objects of its own, 3.11 and 3.13 with none; a caller that has frozen what it
loaded, as a server does before it forks, has more.
"""


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Collect seldom while the block runs, and afterwards as before: the process may belong to the user."""
    before = gc.get_threshold()
    frozen = gc.get_freeze_count() > _FROZEN_AT_START
    # What is loaded by now stays loaded; searching it at each collection took a fiftieth of the time.
    gc.freeze()
    gc.set_threshold(OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not frozen:
            gc.unfreeze()
