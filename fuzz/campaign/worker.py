"""One worker process: `python -m shootdown.fuzz.campaign.worker`.

It reads one line, its job, from standard input, and writes messages to standard output; standard error is its log.
It goes on as long as its standard input stays open: the parent stops a worker by closing it. If the parent was killed,
the worker ends at once, whatever it is doing.
"""

import os
import sys

from shootdown.fuzz.campaign.job import Job, parse_job
from shootdown.fuzz.campaign.orphan import watch_parent
from shootdown.fuzz.engines.instrument import instrument_models
from shootdown.fuzz.engines.registry import ENGINES


def main() -> None:
    """Keep standard output for messages, send the output of libFuzzer and of the policy to the log, and work."""
    job = parse_job(_first_line())
    channel = os.dup(1)
    os.dup2(2, 1)
    watch_parent(channel, job.scratch)
    _work(job, channel)
    sys.stdout.flush()
    # Any other way to end a process in which Fuzz() was interrupted gives the exit code 130.
    os._exit(0)


def _first_line() -> bytes:
    """Read the first line byte by byte, so that nothing after it is taken from the descriptor."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            os._exit(0)
        line += byte
    return line


def _work(job: Job, channel: int) -> None:
    # Imported late: some engines instrument the models before anything loads them.
    if ENGINES[job.engine].instrumented:
        instrument_models()
    from shootdown.fuzz.campaign.work import Work  # noqa: PLC0415 - see above

    Work(job, channel).run()


if __name__ == "__main__":
    main()
