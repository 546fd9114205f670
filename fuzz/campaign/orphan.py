"""What a worker does when its parent was killed: it removes the campaign's temporary folder and ends."""

import os
import select
import shutil
import threading
from pathlib import Path
from typing import NoReturn


def watch_parent(channel: int, scratch: Path) -> None:
    """From now on the process ends as soon as nobody can read `channel`, whatever it is doing.

    A thread, because a policy that never returns would not let the worker look.
    """
    threading.Thread(target=_watch, args=(channel, scratch), daemon=True).start()


def end_orphaned(scratch: Path) -> NoReturn:
    """End the process; the last worker that does so leaves nothing of the folder."""
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


def _watch(channel: int, scratch: Path) -> None:
    poll = select.poll()
    # No event is asked for: what is always reported is that the other end was closed.
    poll.register(channel, 0)
    poll.poll()
    end_orphaned(scratch)
