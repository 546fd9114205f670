"""What the parent asks of a worker. Imports nothing of the models, because a worker reads it before they are loaded."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to do.

    `policy` is a name or a path, `executions` the worker's share of a limit (0: none), `corpus` the path of a file with
    one input in hex digits a line, `machine` a name of machine.registry.
    """

    policy: str
    engine: str
    seed: int
    records: int
    executions: int
    corpus: str
    machine: str = "model"

    @property
    def scratch(self) -> Path:
        """The campaign's temporary folder, where the corpus lies too."""
        return Path(self.corpus).parent

    def line(self) -> bytes:
        """Return the job as the line that a worker reads first."""
        return json.dumps(asdict(self)).encode() + b"\n"


def parse_job(line: bytes) -> Job:
    """Return the job that `Job.line` made the line from."""
    return Job(**json.loads(line))


def write_corpus(path: Path, inputs: Sequence[bytes]) -> None:
    """Write the file that Job.corpus names."""
    path.write_text("".join(f"{data.hex()}\n" for data in inputs))


def read_corpus(path: str) -> list[bytes]:
    """Return the inputs of the file that Job.corpus names."""
    return [bytes.fromhex(line) for line in Path(path).read_text().splitlines()]
