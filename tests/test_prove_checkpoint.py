"""Checkpoints of a proof in files: what is loaded is what was saved, and anything else is one sentence."""

import json
import zlib
from pathlib import Path

import pytest

from shootdown.prove.checkpoint import MAGIC, CheckpointError, load, save
from shootdown.prove.driver import State

IDENTITY: dict[str, object] = {"policy": "linux", "ops": 2}


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Return a checkpoint with a few paths and hashes."""
    path = tmp_path / "proof"
    state = State(1, [b"\0\1", b"", b"\2\3\4\5"], 2, [b"\6\7"], 5, 7, 1, 0.5)
    save(path, IDENTITY, state, [1, (1 << 64) - 1])
    return path


def test_what_was_saved_is_loaded(stored: Path) -> None:
    """State and hashes come back as they were, and nothing else is in the folder."""
    state, keys = load(stored, IDENTITY)

    assert state == State(1, [b"\0\1", b"", b"\2\3\4\5"], 2, [b"\6\7"], 5, 7, 1, 0.5)
    assert list(keys) == [1, (1 << 64) - 1]
    assert [path.name for path in stored.parent.iterdir()] == ["proof"]


def refusal(path: Path, identity: dict[str, object] | None = None) -> str:
    """Return the sentence with which a checkpoint is refused, without the folder."""
    with pytest.raises(CheckpointError) as refused:
        load(path, IDENTITY if identity is None else identity)
    sentence = str(refused.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence.replace(f"{path.parent}/", "")


def test_a_missing_checkpoint(tmp_path: Path) -> None:
    """The sentence has the reason of the system."""
    assert refusal(tmp_path / "gone") == (
        "The checkpoint gone cannot be read: No such file or directory."
    )


@pytest.mark.parametrize("content", [b"", b"shootdown", b"SQLite format 3\0", MAGIC[:-1]])
def test_a_foreign_file(tmp_path: Path, content: bytes) -> None:
    """A file that does not begin like a checkpoint is not one."""
    (tmp_path / "other").write_bytes(content)

    assert refusal(tmp_path / "other") == "other is no checkpoint of a proof."


def test_a_truncated_checkpoint(stored: Path) -> None:
    """Wherever a checkpoint is cut off, it is damaged."""
    data = stored.read_bytes()
    for size in range(len(MAGIC), len(data)):
        stored.write_bytes(data[:size])
        assert refusal(stored) == "The checkpoint proof is damaged."


def test_a_changed_checkpoint(stored: Path) -> None:
    """A changed byte is found, except in the lengths and the compression, which only the machine reads."""
    data = stored.read_bytes()
    for at in range(len(MAGIC), len(data)):
        stored.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            state, keys = load(stored, IDENTITY)
        except CheckpointError as error:
            assert str(error).endswith((" is damaged.",))  # noqa: PT017 (either way is right)
        else:
            assert (state.worlds, list(keys)) == (5, [1, (1 << 64) - 1])


@pytest.mark.parametrize(
    "head", ["[]", "{}", "null", '{"identity": {}}', '{"level": 0}', "1", "{", '"identity"']
)
def test_a_checkpoint_of_nonsense(tmp_path: Path, head: str) -> None:
    """A file that is packed like a checkpoint but holds something else is damaged."""
    parts = [zlib.compress(part) for part in (head.encode(), b"", b"", b"")]
    packed = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    (tmp_path / "proof").write_bytes(MAGIC + packed)

    assert refusal(tmp_path / "proof") == "The checkpoint proof is damaged."


@pytest.mark.parametrize("identity", [[], 1, "linux", None])
def test_an_identity_of_nonsense(stored: Path, identity: object) -> None:
    """An identity that names nothing is damage as well."""
    state, _ = load(stored, IDENTITY)
    counters = {
        name: getattr(state, name)
        for name in ("level", "position", "worlds", "transitions", "cut", "seconds")
    }
    head = json.dumps(counters | {"identity": identity}).encode()
    parts = [zlib.compress(part) for part in (head, b"", b"", b"")]
    stored.write_bytes(MAGIC + b"".join(len(part).to_bytes(8, "little") + part for part in parts))

    assert refusal(stored) == "The checkpoint proof is damaged."


def test_a_checkpoint_of_another_proof(stored: Path) -> None:
    """The sentence names what is different."""
    assert refusal(stored, {"policy": "v1", "ops": 2}) == (
        "The checkpoint proof is of another proof: its policy is linux, here it is v1."
    )
    assert refusal(stored, {"policy": "linux", "ops": 3}) == (
        "The checkpoint proof is of another proof: its ops is 2, here it is 3."
    )
    assert refusal(stored, IDENTITY | {"pages": 1}) == (
        "The checkpoint proof is of another proof: its pages is None, here it is 1."
    )


def test_a_checkpoint_that_cannot_be_written(stored: Path) -> None:
    """The sentence has the reason, and a checkpoint that there was stays."""
    before = stored.read_bytes()
    state, keys = load(stored, IDENTITY)
    stored.with_name("proof.new").mkdir()

    with pytest.raises(CheckpointError, match=r"proof cannot be written: Is a directory\.$"):
        save(stored, IDENTITY, state, keys)
    assert stored.read_bytes() == before

    with pytest.raises(CheckpointError, match=r"cannot be written: No such file or directory\.$"):
        save(stored.parent / "gone" / "proof", IDENTITY, state, keys)
