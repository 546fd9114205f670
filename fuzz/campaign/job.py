"""The order of the parent to a worker. It imports no model, because a worker reads it before the models are loaded."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to do.

    `policy`: a name or a path.
    `executions`: the worker's share of a limit (0: none).
    `corpus`: the path of a file with one input in hex digits on each line.
    `machine`: a name of machine.registry.
    `base`: the name or path of the policy that the other is held against, "" for none.
    """

    policy: str
    engine: str
    seed: int
    records: int
    executions: int
    corpus: str
    machine: str = "model"
    base: str = ""

    @property
    def scratch(self) -> Path:
        """Return the temporary folder of the campaign, which also holds the corpus."""
        return Path(self.corpus).parent

    def line(self) -> bytes:
        """Return the job as the line that a worker reads first."""
        return json.dumps(asdict(self)).encode() + b"\n"


def parse_job(line: bytes) -> Job:
    """Return the job in a line of `Job.line`."""
    return Job(**json.loads(line))


def write_corpus(path: Path, inputs: Sequence[bytes]) -> None:
    """Write the file that Job.corpus names."""
    path.write_text("".join(f"{data.hex()}\n" for data in inputs))


def read_corpus(path: str) -> list[bytes]:
    """Return the inputs of the file that Job.corpus names."""
    return [bytes.fromhex(line) for line in Path(path).read_text().splitlines()]
