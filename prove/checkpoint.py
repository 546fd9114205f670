"""An interrupted proof in a file, from which it can go on."""

import json
import os
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from shootdown.prove.driver import State
from shootdown.system.user_error import UserError

MAGIC: Final = b"shootdown-proof 2\n"
"""The number changes when the hash of a world changes (prove.canonical)."""
_COUNTERS: Final = ("level", "position", "worlds", "transitions", "cut", "seconds")
_LISTS: Final = ("frontier", "following")


class CheckpointError(UserError):
    """A checkpoint cannot be written, or does not belong to this proof."""


def save(path: Path, identity: Mapping[str, object], state: State, keys: Iterable[int]) -> None:
    """Replace the file by this state in one step: it holds either the new state or what it held before.

    `identity`: everything that must be the same for a proof to go on.
    Errors: CheckpointError.
    """
    head: dict[str, object] = {"identity": dict(identity)}
    head |= {name: getattr(state, name) for name in _COUNTERS}
    parts = [json.dumps(head, sort_keys=True).encode()]
    parts += [_packed(getattr(state, name)) for name in _LISTS]
    parts.append(array("Q", keys).tobytes())
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            file.write(MAGIC)
            for part in parts:
                small = zlib.compress(part, 1)
                file.write(len(small).to_bytes(8, "little"))
                file.write(small)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        message = f"The checkpoint {path} cannot be written: {error.strerror}."
        raise CheckpointError(message) from None


def refuse_no_folder(path: Path) -> None:
    """Return if the folder for the file exists.

    Errors: CheckpointError.
    """
    if not path.parent.is_dir():
        message = (
            f"The checkpoint {path} cannot be written: the folder {path.parent} does not exist."
        )
        raise CheckpointError(message)


def load(path: Path, identity: Mapping[str, object]) -> tuple[State, Sequence[int]]:
    """Return the state and the hashes in the file.

    Errors: CheckpointError.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"The checkpoint {path} cannot be read: {error.strerror}."
        raise CheckpointError(message) from None
    if not data.startswith(MAGIC):
        message = f"{path} is no checkpoint of a proof."
        raise CheckpointError(message)
    try:
        head, frontier, following, keys = _parts(data)
        stored: dict[str, Any] = json.loads(head)
        hashes = array("Q")
        hashes.frombytes(keys)
        state = State(frontier=_unpacked(frontier), following=_unpacked(following))
        for name in _COUNTERS:
            setattr(state, name, stored[name])
        held: dict[str, object] = stored["identity"]
        wanted = json.loads(json.dumps(dict(identity)))
        different = [name for name in wanted if held.get(name) != wanted[name]]
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        message = f"The checkpoint {path} is damaged."
        raise CheckpointError(message) from None
    if different:
        name = different[0]
        message = (
            f"The checkpoint {path} is of another proof: its {name} is {held.get(name)}, here it is"
            f" {wanted[name]}."
        )
        raise CheckpointError(message)
    return state, hashes


def _packed(paths: list[bytes]) -> bytes:
    return b"".join(len(path).to_bytes(2, "little") + path for path in paths)


def _unpacked(data: bytes) -> list[bytes]:
    paths: list[bytes] = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "little")
        paths.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return paths


def _parts(data: bytes) -> list[bytes]:
    parts: list[bytes] = []
    at = len(MAGIC)
    while at < len(data):
        size = int.from_bytes(data[at : at + 8], "little")
        parts.append(zlib.decompress(data[at + 8 : at + 8 + size]))
        at += 8 + size
    return parts
