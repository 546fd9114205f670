"""The policy of a kernel's text: its name, its options, and what the user is told of it."""

import os
from pathlib import Path

import pytest

from shootdown.policy.source import PolicyError, load_policy, told_apart
from shootdown.scenario import corpus
from tests.command import complaint, document, inside
from tests.kernel_texts import HEADER, RULE, tree
from tests.trees import TREES

WRONG = RULE.replace("return (old ^ new) & watched", "return false")
FOUND = "bad_c1_skip_write_protect"
ASKING = RULE.replace(
    "\treturn (old ^ new) & watched;",
    "#ifdef CONFIG_STRICTER\n\treturn true;\n#endif\n"
    "\treturn ((old ^ new) & watched) || IS_ENABLED(CONFIG_STRICTEST);",
)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test its own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_two_texts_of_one_release_have_two_names(tmp_path: Path) -> None:
    """The name shows the text and the options, and neither the place nor the comments."""
    one = load_policy(f"c-rule:{tree(tmp_path / 'one')}")
    same = load_policy(f"c-rule:{tree(tmp_path / 'same', '/* other */' + RULE)}")
    other = load_policy(f"c-rule:{tree(tmp_path / 'other', WRONG)}")
    stricter = load_policy(f"{one.spec},CONFIG_STRICTER")

    assert one.name == same.name
    assert len({one.name, other.name, stricter.name}) == 3
    assert all(each.name.startswith("c-rule-6.99-") for each in (one, other, stricter))


def test_two_texts_have_two_findings(tmp_path: Path) -> None:
    """In one database the same defect of two texts of a release is two findings."""
    for folder, text in (("a", WRONG), ("b", WRONG.replace("watched", "looked_at"))):
        spec = f"c-rule:{tree(tmp_path / folder, text)}"
        inside(tmp_path, "fuzz", "--policy", spec, "--execs", "20", "--workers", "1", "--quiet")
    found = document(tmp_path, "findings", "list")

    policies = {finding["policy"] for finding in found}
    assert len(policies) == 2


def test_a_replay_says_that_the_text_has_changed(tmp_path: Path) -> None:
    """After an edit of the text the replay of a finding says so in one line; before it says nothing."""
    folder = tree(tmp_path / "linux", WRONG)
    spec = f"c-rule:{folder}"
    inside(tmp_path, "fuzz", "--policy", spec, "--execs", "20", "--workers", "1", "--quiet")
    (finding, *_) = document(tmp_path, "findings", "list")
    same = inside(tmp_path, "replay", finding["id"])
    tree(folder, RULE)
    changed = inside(tmp_path, "replay", finding["id"])

    assert (same.code, same.err) == (1, "")
    assert changed.err == f"{spec} has changed since this was recorded.\n"


def test_a_minimum_says_how_it_is_replayed(tmp_path: Path) -> None:
    """The name in the `expect` line of a text's minimum is no policy: the error says what to give, and that works."""
    spec = f"c-rule:{tree(tmp_path / 'linux', WRONG)}"
    made = inside(tmp_path, "minimize", _scenario(tmp_path), "--policy", spec)
    (tmp_path / "minimum.txt").write_text(made.out)
    line = complaint(tmp_path, "replay", "minimum.txt")
    again = inside(tmp_path, "replay", "minimum.txt", "--policy", spec)

    assert f"expect c-rule-6.99-{load_policy(spec).name[-6:]} C1 stale-grant" in made.out
    assert line.endswith(
        "is the rule of a kernel's text: give its place with --policy c-rule:PATH."
    )
    assert again.code == 1
    assert "NOT as expected" not in again.out


def _scenario(folder: Path) -> str:
    file = folder / "scenario.txt"
    file.write_text(corpus.texts()[FOUND])
    return str(file)


def test_options_that_a_rule_asks_for_are_told(tmp_path: Path) -> None:
    """What is off and decides about the rule is told once, and listed by `policies`; what is set is not."""
    folder = tree(tmp_path / "linux", ASKING)
    twice = ["--policy", f"c-rule:{folder}", "--against", f"c-rule:{folder}"]
    ended = inside(tmp_path, "replay", "good_mprotect_aba", *twice)
    listed = inside(tmp_path, "policies", f"c-rule:{folder}")
    chosen = inside(tmp_path, "policies", f"c-rule:{folder},CONFIG_STRICTER,CONFIG_STRICTEST")

    assert ended.err == (
        "The rule asks for CONFIG_STRICTER, CONFIG_STRICTEST, off here; "
        f"c-rule:{folder},CONFIG_STRICTER sets one.\n"
    )
    assert "it asks for CONFIG_STRICTER, CONFIG_STRICTEST, off here" in " ".join(listed.out.split())
    assert chosen.err == ""
    assert "off here" not in chosen.out


@pytest.mark.parametrize(
    ("option", "flushes"), [("", False), (",CONFIG_STRICTER", True), (",CONFIG_STRICTEST", True)]
)
def test_an_option_can_be_set(tmp_path: Path, option: str, *, flushes: bool) -> None:
    """The text decides as in a kernel with the option, and the words for the policy keep it."""
    loaded = load_policy(f"c-rule:{tree(tmp_path / 'linux', ASKING)}{option}")

    assert loaded.policy.needs_flush(0x5001, 0x5001) is flushes
    assert loaded.spec.endswith(f"linux{option}")
    assert load_policy(loaded.spec).version == loaded.version


def test_options_in_any_order_are_one_policy(tmp_path: Path) -> None:
    """The order, a repetition and the two words for CONFIG_DEBUG_VM make no other policy."""
    spec = f"c-rule:{tree(tmp_path / 'linux', ASKING)}"
    one = load_policy(f"{spec},CONFIG_STRICTER,debug-vm")
    other = load_policy(f"{spec},CONFIG_DEBUG_VM,CONFIG_STRICTER,CONFIG_STRICTER")

    assert (one.name, one.spec, one.version) == (other.name, other.spec, other.version)


@pytest.mark.parametrize("word", ["debug_vm", "DEBUG-VM", "debugvm"])
def test_a_misspelt_option_has_a_hint(tmp_path: Path, word: str) -> None:
    """What is no option, after a path that exists, is named, with what may be meant."""
    line = complaint(tmp_path, "policies", f"c-rule:{tree(tmp_path / 'linux')},{word}")

    assert f"{word} is no option of a text: debug-vm and CONFIG_NAME are. Did you mean" in line


def test_a_folder_with_a_comma(tmp_path: Path) -> None:
    """A folder whose name ends like an option is a folder."""
    loaded = load_policy(f"c-rule:{tree(tmp_path / 'linux,debug-vm')}")

    assert "+" not in loaded.name


@pytest.mark.parametrize("path", TREES)
def test_a_release_asks_for_nothing_unknown(path: Path) -> None:
    """The options that are off and that the rules of kernels ask for are the documented ones."""
    assert load_policy(f"c-rule:{path}").remark == ""


@pytest.mark.parametrize("command", ["fuzz", "prove", "table", "policies"])
def test_a_name_that_is_no_utf_8(tmp_path: Path, command: str) -> None:
    """A folder whose name cannot be recorded is refused in a sentence."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/lin\xffux"))
    words = [] if command == "policies" else ["--policy"]
    line = complaint(tmp_path, command, *words, f"c-rule:{tree(folder)}")

    assert "is no UTF-8" in line
    assert not list(tmp_path.glob("*.db"))


def test_a_refusal_names_the_typed_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without the header is named as the user has typed it, not by a word made of it."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    for path in ("empty", "empty/", "../" + tmp_path.name + "/empty"):
        with pytest.raises(PolicyError) as refused:
            load_policy(f"c-rule:{path}")
        assert str(refused.value).startswith(f"{Path(path)} has no {HEADER}")


def test_the_policy_of_a_text_describes_its_rule(tmp_path: Path) -> None:
    """`policies` shows the place of the rule's C and what is compiled with it."""
    ended = inside(tmp_path, "policies", f"c-rule:{tree(tmp_path / 'linux')}")

    assert f"  The C of {HEADER}:10, compiled with needs." in ended.out.splitlines()


def test_two_places_of_one_text_have_short_names(tmp_path: Path) -> None:
    """Two places of one text are told apart by the ends of their paths."""
    long = tmp_path / ("x" * 100)
    one, other = (load_policy(f"c-rule:{tree(long / name)}") for name in ("a/linux", "b/linux"))

    assert [each.name for each in told_apart([one, other])] == [".../a/linux", ".../b/linux"]
    assert [each.name for each in told_apart([one])] == [one.name]


def test_long_names_fit_into_lines(tmp_path: Path) -> None:
    """No line of `agree` is longer than 100 columns, however long the names are."""
    folder = tree(tmp_path / "linux", WRONG)
    with (folder / "Makefile").open("a") as makefile:
        makefile.write(f"EXTRAVERSION = -{'long-' * 60}\n")
    ended = inside(
        tmp_path, "agree", "linux", f"c-rule:{folder},CONFIG_A,CONFIG_B", "--random", "1"
    )

    assert ended.code == 1, ended
    assert "c-rule-6.99-long-" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100
