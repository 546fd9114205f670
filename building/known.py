"""Make the list of known texts from kernel trees.

    python -m building.known TREE...

writes kernel/known/RELEASE.lines for each tree: what kernel/known_texts.py compares a text with. Do this for a new
release when its stories and campaigns agree with the models.
"""

import sys
from pathlib import Path

from shootdown.kernel.known_texts import SUFFIX, rendered
from shootdown.kernel.machinery import machinery_of
from shootdown.kernel.text import text_at


def main(trees: list[str]) -> None:
    """Write a file for each tree."""
    folder = Path(__file__).parent.parent / "kernel" / "known"
    folder.mkdir(exist_ok=True)
    for tree in trees:
        machinery = machinery_of(text_at(Path(tree)))
        (folder / f"{machinery.release}{SUFFIX}").write_text(
            rendered(machinery.sources), encoding="ascii"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
