"""A lock that says whether a process is still alive: the kernel releases it however the process ends.

The lock uses no clock and no process id: a clock may stand still, and an id may belong to another process by now.
"""

import contextlib
import fcntl
import os
from pathlib import Path


class HeldLock:
    """A file that appears locked and stays locked until `release`, or until this process ends.

    The processes that this one starts do not hold the lock.
    Errors: OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # No other process can open the file before it is locked.
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        self._descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            draft.rename(path)
        except BaseException:
            os.close(self._descriptor)
            draft.unlink(missing_ok=True)
            raise

    def release(self) -> None:
        """Remove the file, then unlock it; a second release does nothing."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock; a lock that cannot be asked counts as held."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
