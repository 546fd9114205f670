"""The need-flush rule of a kernel's own C: from a tree, an archive, a file and a patch."""

import subprocess
import tarfile
from pathlib import Path

import pytest

from shootdown.kernel.rule import rule_of
from shootdown.kernel.text import KernelError, text_at
from shootdown.machine.entry import ACCESSED, NX, PRESENT, RW, USER
from shootdown.machine.geometry import FRAME_BITS
from shootdown.optimized.policies import REGISTRY
from shootdown.policy.source import PolicyError, load_policy
from shootdown.table.agreement import agreement_of
from tests.command import inside
from tests.kernel_texts import HEADER, RULE, tree
from tests.trees import TREES

PAGE = PRESENT | USER | FRAME_BITS[5]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test its own cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def decisions(path: Path) -> tuple[bool, ...]:
    """Return the answers of the rule at a path for a few changes, which no two of the texts here decide alike."""
    rule = rule_of(text_at(path)).needs_flush
    changes = [(PAGE, PAGE | RW), (PAGE, PAGE | ACCESSED), (PAGE | NX, PAGE), (0, PAGE), (PAGE, 0)]
    return tuple(rule(*change) for change in changes)


EXPECTED = (True, False, True, False, True)


def test_a_tree(tmp_path: Path) -> None:
    """The functions of a tree's header decide, with what they call; the release is the Makefile's."""
    rule = rule_of(text_at(tree(tmp_path)))

    assert decisions(tmp_path) == EXPECTED
    assert rule.release == "6.99"
    assert rule.places["pte_needs_flush"] == f"{HEADER}:10"
    assert rule.huge_needs_flush is None


def test_an_archive(tmp_path: Path) -> None:
    """An archive whose files are in one folder, as in those of kernel.org, works like a tree."""
    folder = tree(tmp_path / "linux-6.99")
    archive = tmp_path / "linux.tar.xz"
    with tarfile.open(archive, "w:xz") as made:
        made.add(folder, "linux-6.99")

    assert decisions(archive) == EXPECTED
    assert rule_of(text_at(archive)).release == "6.99"


def test_a_file(tmp_path: Path) -> None:
    """A C file needs no tree; names that it does not define have their meaning on x86-64."""
    file = tmp_path / 'a rule\'s "own".c'
    file.write_text(RULE)

    assert decisions(file) == EXPECTED


def test_a_patch(tmp_path: Path) -> None:
    """The new side of a patch counts, with each line at its number in the new file."""
    lines = RULE.splitlines(keepends=True)
    old = [line.replace("_PAGE_RW | ", "") for line in lines]
    (tmp_path / "old").write_text("".join(old))
    (tmp_path / "new").write_text("".join(lines))
    patch = tmp_path / "rule.patch"
    made = subprocess.run(
        ["diff", "-U100", "old", "new"], cwd=tmp_path, capture_output=True, check=False
    )
    patch.write_bytes(made.stdout)

    assert decisions(patch) == EXPECTED
    assert rule_of(text_at(patch)).places["pte_needs_flush"] == "new:10"


def test_a_patch_that_does_not_show_all_of_a_function(tmp_path: Path) -> None:
    """A function whose lines are not all in the hunks is refused: what is left of it would be another rule."""
    patch = tmp_path / "rule.patch"
    head, body = "static inline bool pte_needs_flush(pte_t old, pte_t new)", "\treturn false;"
    patch.write_text(f"@@ -1,3 +1,3 @@\n {head}\n {{\n+{body}\n@@ -9,2 +9,2 @@\n {body}\n }}\n")

    with pytest.raises(KernelError, match=r"^rule\.patch:3: the patch does not show all of what"):
        rule_of(text_at(patch))


def test_what_a_kernel_is_built_with_is_known(tmp_path: Path) -> None:
    """Conditions about the compiler and the architecture are decided as in a kernel of x86-64."""
    text = "".join(
        f"#if !({condition})\n#error {condition}\n#endif\n"
        for condition in ("BITS_PER_LONG == 64", "defined(__x86_64__)", "__GNUC__ >= 8")
    )
    tree(tmp_path, "#define BITS_PER_LONG 64\n" + text + RULE)

    assert decisions(tmp_path) == EXPECTED


@pytest.mark.parametrize("name", ["rule.so", "rule.json", "rule.c", "sums.json"])
@pytest.mark.parametrize("size", [None, 0, 100])
def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, cache: Path, name: str, size: int | None
) -> None:
    """A file of a build that is gone, empty or torn is no error, and the build is whole afterwards."""
    rule_of(text_at(tree(tmp_path)))
    (made,) = cache.rglob(name)
    content = made.read_bytes()
    made.unlink()
    if size is not None:
        made.write_bytes(content[:size])

    assert decisions(tmp_path) == EXPECTED
    assert made.stat().st_size == len(content)
    assert len(list(made.parents[1].iterdir())) == 1


def test_a_relative_path_is_recorded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finding can be replayed from any folder."""
    tree(tmp_path / "linux")
    monkeypatch.chdir(tmp_path)

    assert load_policy("c-rule:linux").spec == f"c-rule:{tmp_path / 'linux'}"


def test_a_tree_is_read_anew(tmp_path: Path) -> None:
    """A result from another state of a text is never used."""
    before = rule_of(text_at(tree(tmp_path)))
    after = rule_of(text_at(tree(tmp_path, RULE.replace("_PAGE_RW | ", ""))))

    assert before.needs_flush(PAGE, PAGE | RW)
    assert not after.needs_flush(PAGE, PAGE | RW)
    assert before.digest != after.digest


def test_the_same_text_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process finds the result of the first one."""
    first = rule_of(text_at(tree(tmp_path)))
    monkeypatch.setattr("shootdown.kernel.rule.run_compiler", None)

    assert rule_of(text_at(tmp_path)).digest == first.digest


def test_conditions_are_decided_as_in_a_kernel(tmp_path: Path) -> None:
    """Options of the configuration are set as the documentation says, and CONFIG_DEBUG_VM on request."""
    text = """
    #ifndef CONFIG_X86_64
    #error not for this kernel
    #endif
    static inline bool pte_needs_flush(pte_t old, pte_t new)
    {
        if (IS_ENABLED(CONFIG_DEBUG_VM))
            return true;
        return IS_ENABLED(CONFIG_PARAVIRT);
    }
    """
    tree(tmp_path, text)

    assert not rule_of(text_at(tmp_path)).needs_flush(0, 0)
    assert rule_of(text_at(tmp_path), ["DEBUG_VM"]).needs_flush(0, 0)


def test_the_older_name(tmp_path: Path) -> None:
    """The patches of 2021 and 2022 call the function pte_may_need_flush."""
    tree(tmp_path, RULE.replace("pte_needs_flush", "pte_may_need_flush"))

    assert decisions(tmp_path) == EXPECTED


def test_a_complaint_names_the_line_of_the_tree(tmp_path: Path) -> None:
    """An error of gcc is one sentence, with the tree's file and line."""
    tree(tmp_path, RULE.replace("_PAGE_RW", "_PAGE_NONSENSE"))

    with pytest.raises(KernelError, match=rf"^{HEADER}:4: .*_PAGE_NONSENSE.* undeclared"):
        rule_of(text_at(tmp_path))


def test_a_build_bug_is_an_error(tmp_path: Path) -> None:
    """A condition that the tree checks when it is built is checked here."""
    tree(tmp_path, RULE.replace("watched & _PAGE_ACCESSED", "watched & _PAGE_RW"))

    with pytest.raises(KernelError, match=f"^{HEADER}:6: .*BUILD_BUG_ON"):
        rule_of(text_at(tmp_path))


def test_the_line_that_decides(tmp_path: Path) -> None:
    """A decision is attributed to the line of the innermost function of the rule that has made it."""
    rule = rule_of(text_at(tree(tmp_path))).needs_flush

    assert rule.branch(0, PAGE) == f"{HEADER}:{rule_line('return false')}"
    assert rule.branch(PAGE, PAGE) == f"{HEADER}:{rule_line('return (old ^ new)')}"


def rule_line(words: str) -> int:
    """Return the number of the rule's line that has the words."""
    (number,) = [at for at, line in enumerate(RULE.splitlines(), 1) if words in line]
    return number


@pytest.mark.parametrize(
    "command",
    [
        ["table", "--policy"],
        ["policies"],
        ["replay", "good_mprotect_aba", "--policy"],
        ["prove", "--ops", "1", "--policy"],
        ["fuzz", "--execs", "20", "--policy"],
        ["agree", "linux", "--random", "2"],
    ],
    ids=lambda words: words[0],
)
def test_every_command_takes_it(tmp_path: Path, command: list[str]) -> None:
    """Every command that accepts a policy accepts the text of a kernel, and names it by its release."""
    ended = inside(tmp_path, *command, f"c-rule:{tree(tmp_path / 'linux')}")

    # This rule forgets D and more, so that a table and a campaign may find something.
    assert ended.code in (0, 1), ended
    assert "c-rule-6.99" in ended.out


def test_a_wrong_rule_is_found(tmp_path: Path) -> None:
    """A scenario that the C decides wrongly is illegal, and can be minimized."""
    text = RULE.replace("return (old ^ new) & watched", "return false")
    ended = inside(
        tmp_path,
        "replay",
        "bad_c1_skip_write_protect",
        "--policy",
        f"c-rule:{tree(tmp_path, text)}",
    )

    assert ended.code == 1, ended
    assert "stale-grant" in ended.out


def test_a_policy_of_a_text_says_where_it_is(tmp_path: Path) -> None:
    """Its source is the function's place in the tree, and its version changes with the text."""
    first = load_policy(f"c-rule:{tree(tmp_path)}")
    second = load_policy(f"c-rule:{tree(tmp_path, RULE.replace('_PAGE_RW | ', ''))}")

    assert first.policy.source == f"pte_needs_flush, {HEADER}:10"
    assert first.name.startswith("c-rule-6.99-")
    assert first.name != second.name
    assert load_policy(first.spec).version == second.version != first.version


def test_what_is_no_path(tmp_path: Path) -> None:
    """A path that names nothing is an error that names it."""
    with pytest.raises(PolicyError, match="No such file"):
        load_policy(f"c-rule:{tmp_path / 'absent'}")


@pytest.mark.parametrize("path", TREES)
@pytest.mark.parametrize("debug_vm", [False, True])
def test_the_models_rule_is_the_kernels(path: Path, *, debug_vm: bool) -> None:
    """The policy `linux` decides as the C of each release does, for every change that is tried, at both sizes; under
    CONFIG_DEBUG_VM bits that are in no list need a flush there.
    """
    spec = f"c-rule:{path}" + (",debug-vm" if debug_vm else "")
    agreement = agreement_of(REGISTRY["linux"], load_policy(spec).policy)

    assert agreement.pairs > 2_000_000
    changes = {words for each in agreement.classes for words in each.changes}
    numbered = {words for words in changes if words.startswith(("bit ", "SOFTW4 "))}
    assert changes == numbered
    assert debug_vm or not changes
    assert all(each.flushing == 1 and each.safe for each in agreement.classes)
