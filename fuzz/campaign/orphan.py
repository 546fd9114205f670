"""What a worker does when its parent was killed: it removes the campaign's temporary folder and ends."""

import os
import select
import shutil
import threading
from pathlib import Path
from typing import NoReturn


def watch_parent(channel: int, scratch: Path) -> None:
    """End the process as soon as `channel` has no reader any more, whatever the process is doing.

    A thread does this, because a policy that never returns would not let the worker check.
    """
    threading.Thread(target=_watch, args=(channel, scratch), daemon=True).start()


def end_orphaned(scratch: Path) -> NoReturn:
    """End the process; the last worker that does so removes the rest of the folder."""
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


def _watch(channel: int, scratch: Path) -> None:
    poll = select.poll()
    # No event is requested: the closing of the other end is always reported.
    poll.register(channel, 0)
    poll.poll()
    end_orphaned(scratch)
