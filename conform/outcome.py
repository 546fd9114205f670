"""What a comparison of the models with another machine has shown, whatever that machine is."""

from dataclasses import dataclass, field

from shootdown.scenario import Header, Scenario

NO_SCENARIO = Scenario(Header(1, 1), ())


@dataclass(frozen=True, slots=True)
class Found:
    """A disagreement that nothing explains, minimized.

    `kind`: the comparison that found it.
    `what`: what differs.
    `model`, `other`: what each side shows, in words.
    `text`: the text in place of the scenario where there is none (a sequence of hardware events).
    `again`: it happens each time the scenario runs; a disagreement that does not is kept as it was met.
    """

    kind: str
    what: str
    model: str
    other: str
    seed: int
    scenario: Scenario = NO_SCENARIO
    text: str = ""
    again: bool = True


@dataclass(slots=True)
class Figures:
    """How far a comparison is.

    `explained`: for the name of each known difference, how many sequences show it.
    """

    sequences: int = 0
    operations: int = 0
    accesses: int = 0
    seconds: float = 0.0
    explained: dict[str, int] = field(default_factory=dict)

    def explain(self, name: str) -> None:
        """Count one sequence that shows a known difference."""
        self.explained[name] = self.explained.get(name, 0) + 1
