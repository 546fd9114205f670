"""A kernel's own text, held against the models: the stories of the corpus, and the accesses that have no stop."""

from dataclasses import dataclass
from typing import Final

from shootdown.kernel.strategy import KernelFlush
from shootdown.mm.world import FlushStrategy
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import corpus

MODEL: Final = "linux"
"""The policy of the models with which a text is compared."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the stories show.

    `stories`: their number.
    `differ`: for each story that has another verdict on the text than on the models, its name and both verdicts.
    `unstopped`: the accesses to what CPUs share that have no stop before them: function, place, whether it writes.
    """

    stories: int
    differ: tuple[tuple[str, str, str], ...]
    unstopped: tuple[tuple[str, str, bool], ...]


def held(text: FlushStrategy) -> Held:
    """Run all stories on a text, the strategy that a policy of it makes, and on the models."""
    model = REGISTRY[MODEL].make()
    stories = corpus.load()
    differ: list[tuple[str, str, str]] = []
    for name, parsed in stories.items():
        ours = execute(parsed.scenario, text)
        theirs = execute(parsed.scenario, model)
        words = [f"{each.verdict} {each.reason}".rstrip() for each in (theirs, ours)]
        if words[0] != words[1]:
            differ.append((name, words[0], words[1]))
    return Held(
        len(stories), tuple(differ), text.unstopped() if isinstance(text, KernelFlush) else ()
    )
