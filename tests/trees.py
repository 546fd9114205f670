"""The kernel trees that the tests find: those that `make trees` has put into .trees/."""

from pathlib import Path
from typing import Final

import pytest

FOLDER: Final = Path(__file__).parents[1] / ".trees"
FOUND: Final = sorted(path for path in FOLDER.glob("[0-9]*.*[0-9]") if path.is_dir())
WITHOUT: Final = pytest.mark.skip(reason="there is no kernel tree: make trees gets some")
TREES: Final = [pytest.param(path, id=path.name) for path in FOUND] or [
    pytest.param(FOLDER, id="none", marks=WITHOUT)
]
"""A parameter for each tree, or one that is skipped with the reason."""
