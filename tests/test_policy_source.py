"""The sources of policies, and what the user reads when one cannot be loaded."""

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from shootdown.optimized import rules
from shootdown.optimized.policies import REGISTRY
from shootdown.policy import source as policy_source
from shootdown.policy.source import PolicyError, blamed, load_policy, policy_of_finding

FUNCTION = '''"""Flush when the frame changes."""

def needs_flush(old, new):
    return (old ^ new) >> 12 & 0xFF != 0
'''
POLICY = """from shootdown.optimized.policy import Policy

POLICY = Policy("careful", lambda old, new: True, "flush always")
"""


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    """Return the path of a new policy file."""
    path = folder / name
    path.write_text(text)
    return str(path)


def test_registry() -> None:
    """A name of the registry is that policy, and its version is the tool's."""
    loaded = load_policy("linux")

    assert loaded.policy is REGISTRY["linux"]
    assert (loaded.name, loaded.spec) == ("linux", "linux")


def test_file_with_a_function(tmp_path: Path) -> None:
    """A file with needs_flush(old, new) is a policy named after the file, with the summary of its docstring."""
    loaded = load_policy(write(tmp_path, FUNCTION))

    assert (loaded.name, loaded.policy.summary) == ("mine", "Flush when the frame changes.")
    assert loaded.policy.needs_flush(0x1000, 0x2000)


def test_file_with_a_policy(tmp_path: Path) -> None:
    """A file with POLICY is that policy, under its own name."""
    assert load_policy(write(tmp_path, POLICY)).name == "careful"


def test_version_changes_with_the_content(tmp_path: Path) -> None:
    """Two states of one file have two versions."""
    first = load_policy(write(tmp_path, FUNCTION)).version
    second = load_policy(write(tmp_path, FUNCTION + "\n# later\n")).version

    assert first != second


def test_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package can bring a policy, or a function that becomes one under the entry point's name."""
    point = EntryPoint("theirs", "shootdown.optimized.rules:minimal", policy_source.GROUP)
    monkeypatch.setattr(policy_source, "entry_points", lambda **_: EntryPoints([point]))

    loaded = load_policy("theirs")

    assert loaded.name == "theirs"
    assert loaded.policy.needs_flush is rules.minimal
    assert "theirs" in policy_source.policy_names()


def test_entry_point_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken entry point is one sentence that names it."""
    point = EntryPoint("theirs", "no_such_module:rule", policy_source.GROUP)
    monkeypatch.setattr(policy_source, "entry_points", lambda **_: EntryPoints([point]))

    with pytest.raises(PolicyError, match=r"The entry point theirs .* cannot be loaded: Module"):
        load_policy("theirs")


def test_unknown_name() -> None:
    """An unknown name is answered with the nearest ones."""
    with pytest.raises(PolicyError, match=r"'linx'\. Did you mean linux"):
        load_policy("linx")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rule = 1\n", "defines neither POLICY nor needs_flush"),
        ("needs_flush = 3\n", "has an? int where a Policy or a function must be"),
        ("def needs_flush(old):\n    return True\n", r"must take two entries, \(old, new\)"),
        ("x = 1\ny = x / 0\n", r"mine\.py, line 2: ZeroDivisionError: division by zero\."),
        ("x = 1\ndef f(:\n", r"mine\.py, line 2: invalid syntax"),
        ("import no_such_module\n", r"mine\.py, line 1: ModuleNotFoundError: No module named"),
        ("import sys\nsys.exit(4)\n", r"mine\.py, line 2: SystemExit: 4\."),
        (POLICY.replace("careful", "linux"), "needs a name of its own"),
        (
            "def needs_flush(old, new):\n    if old & ~new & 2:\n        return True\n",
            r"must return True or False; for none -> none it returned None\.",
        ),
        (
            "def needs_flush(old, new):\n    return old & ~new & 2 or False\n",
            r"for f5 P RW A D -> none it returned 2\.",
        ),
        (POLICY.replace("True", "'yes'"), r"it returned 'yes'\."),
        (POLICY.replace("careful", "too careful"), "must be one word, and 'too careful' is not"),
        (POLICY.replace("careful", "c#"), "must be one word"),
        (POLICY.replace('"careful"', "None"), "must be one word, and None is not"),
        (POLICY.replace("always", "", 1).replace('")', '", strategy=int)'), "of GatherFlush"),
    ],
    ids=[
        *("nothing", "number", "arity", "raises", "syntax", "import", "exit", "taken"),
        *("no answer", "integer", "text", "name", "comment", "no name", "strategy"),
    ],
)
def test_file_that_is_no_policy(tmp_path: Path, text: str, sentence: str) -> None:
    """A file that defines no policy is one sentence, with the line if one is to blame."""
    with pytest.raises(PolicyError, match=sentence):
        load_policy(write(tmp_path, text))


def test_file_that_does_not_exist(tmp_path: Path) -> None:
    """A missing file is one sentence that names it."""
    with pytest.raises(PolicyError, match=r"no\.py cannot be read: No such file"):
        load_policy(str(tmp_path / "no.py"))


def test_rule_that_raises_while_running(tmp_path: Path) -> None:
    """An error inside a user's rule names the line of the file; an error of this program stays what it is."""
    loaded = load_policy(write(tmp_path, "def needs_flush(old, new):\n    return old // 0\n"))

    with pytest.raises(PolicyError, match=r"mine\.py, line 2: ZeroDivisionError"), blamed(loaded):
        loaded.policy.needs_flush(1, 2)
    with pytest.raises(KeyError), blamed(loaded):
        raise KeyError


def test_policy_that_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a policy prints is on standard error; what its rule prints during the check is not shown."""
    text = "print('loading')\n\ndef needs_flush(old, new):\n    print('asked')\n    return True\n"
    loaded = load_policy(write(tmp_path, text))
    with blamed(loaded):
        loaded.policy.needs_flush(1, 2)

    assert capsys.readouterr() == ("", "loading\nasked\n")


def test_rule_that_exits_while_running(tmp_path: Path) -> None:
    """A rule that calls sys.exit() is blamed like one that raises: it does not choose the exit code."""
    text = "import sys\n\ndef needs_flush(old, new):\n    sys.exit(0)\n"
    loaded = load_policy(write(tmp_path, text))

    with pytest.raises(PolicyError, match=r"mine\.py, line 4: SystemExit: 0"), blamed(loaded):
        loaded.policy.needs_flush(1, 2)


def test_policy_of_a_finding(tmp_path: Path) -> None:
    """The policy of a finding is found again from what its campaign stored, be it a name or a file."""
    mine = load_policy(write(tmp_path, FUNCTION))

    assert policy_of_finding("linux", "0.1.0").name == "linux"
    assert policy_of_finding("mine", mine.version).name == "mine"


def test_policy_of_a_finding_that_is_gone(tmp_path: Path) -> None:
    """When the file of a finding's policy is gone, the sentence says how to name another."""
    path = Path(write(tmp_path, FUNCTION))
    version = load_policy(str(path)).version
    path.unlink()

    with pytest.raises(PolicyError, match=r"cannot be read.*Give the policy mine with --policy"):
        policy_of_finding("mine", version)
