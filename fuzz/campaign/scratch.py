"""The temporary folder of a campaign: logs and files of the workers, which are not needed after a good end."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from shootdown.system.lock import HeldLock, is_held
from shootdown.system.refusal import Refusal

PREFIX: Final = "shootdown-"
LOCK: Final = "running"


class Scratch:
    """A new folder for this campaign alone; creating it removes the folders of campaigns that were killed.

    Errors: Refusal.
    """

    def __init__(self) -> None:
        try:
            sweep(Path(tempfile.gettempdir()))
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._lock = HeldLock(self.path / LOCK)
        except OSError as error:
            raise Refusal(f"No temporary folder can be made: {error.strerror}.") from error

    def close(self, *, keep: bool) -> None:
        """Remove the folder, or leave it to the user; then no later campaign removes it."""
        self._lock.release()
        if not keep:
            shutil.rmtree(self.path, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove the folders of this user's campaigns that were killed; a folder that was kept has no lock file."""
    for lock in folder.glob(f"{PREFIX}*/{LOCK}"):
        owned = not lock.is_symlink() and lock.parent.lstat().st_uid == os.getuid()
        if owned and not is_held(lock):
            shutil.rmtree(lock.parent, ignore_errors=True)
