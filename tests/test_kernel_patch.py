"""The need-flush rule of a patch: only definitions that the hunks show whole, in the file that has the rule."""

import difflib
import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from shootdown.kernel.hunk import shown_whole
from shootdown.kernel.patch import PatchError, new_sides
from shootdown.kernel.rule import Rule, rule_of
from shootdown.kernel.text import KernelError, text_at
from shootdown.machine.entry import ACCESSED, NX, PRESENT, RW, USER
from shootdown.machine.geometry import FRAME_BITS
from tests.kernel_texts import HEADER, RULE
from tests.trees import TREES

PAGE = PRESENT | USER | FRAME_BITS[5]
CHANGES = [(PAGE, PAGE | RW), (PAGE, PAGE | ACCESSED), (PAGE | NX, PAGE), (0, PAGE), (PAGE, 0)]
EXPECTED = (True, False, True, False, True)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test its own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def hunk(start: int, text: str) -> str:
    """Return a hunk that adds the lines of a text to a file, where the first one gets that number."""
    lines = text.splitlines()
    return f"@@ -{start},0 +{start},{len(lines)} @@\n" + "".join(f"+{line}\n" for line in lines)


def patch(folder: Path, *hunks: str, name: str = HEADER) -> Path:
    """Write a patch of one file, and return its path."""
    path = folder / "rule.patch"
    path.write_text(f"--- a/{name}\n+++ b/{name}\n" + "".join(hunks))
    return path


def decisions(rule: Rule) -> tuple[bool, ...]:
    """Return the answers for a few changes."""
    return tuple(rule.needs_flush(*change) for change in CHANGES)


EDGES = {
    "a half comment before": (" * half\n * a comment; { ( \n */\n", ""),
    "a half comment after": ("", "/*\n * half a comment; { (\n"),
    "a comment that is nowhere whole": ("", " * prose (of\n * a comment\n"),
    "half a function before": ("\tif (a) {\n\t\tpte_needs_flush(a, b);\n\t}\n\treturn 1;\n}\n", ""),
    "statements of a function": ("\tunsigned long watched = flags;\n\n\twatched ^= 2;\n", ""),
    "a label of a function": ("out:\n\treturn old;\n}\n", ""),
    "half parameters before": ("\t\t\t unsigned long old)\n{\n\treturn 1;\n}\n", ""),
    "half a structure before": ("\tunsigned long old;\n\tint watched;\n};\n", ""),
    "half a function after": ("", "static inline int needed(void)\n{\n\tif (1) {\n"),
    "half a head after": ("", "static inline int needed(int a,\n"),
    "half a structure after": ("", "struct needed {\n\tint a;\n"),
    "half a macro before": ("\t\treturn 1; \\\n\t} while (0)\n", ""),
    "half a macro after": ("", "#define NEEDED(a) \\\n\tdo { \\\n"),
    "the end of a condition before": ("static int a;\n#endif\n", ""),
    "an alternative before": ("#else\n#error not this one\n#endif\n", ""),
    "an alternative after": ("", "#else\n#error not this one\n"),
    "a condition that is open after": ("#ifndef GUARD_H\n#define GUARD_H\n", ""),
    "two conditions that are open after": ("#ifdef CONFIG_SMP\n#ifdef CONFIG_MMU\n", "int b;\n"),
    "a quotation mark in a comment": (" * don't \"\n */\n", "/* isn't \"\n"),
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("apart", [False, True])
def test_what_is_not_shown_whole_does_not_matter(tmp_path: Path, edge: str, *, apart: bool) -> None:
    """Halves at the edges of hunks take no part: in the hunk that shows the rule, and in hunks around it."""
    before, after = EDGES[edge]
    hunks = (before, RULE, after) if apart else (before + RULE + after,)
    start, made = 10, []
    for text in filter(None, hunks):
        made.append(hunk(start, text))
        start += text.count("\n") + 10
    rule = rule_of(text_at(patch(tmp_path, *made)))

    assert decisions(rule) == EXPECTED


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("static inline bool pte_needs_flush(pte_t old, pte_t new)\n", 5),
        ("static inline bool pte_needs_flush(pte_t old,\n", 5),
        ("static inline bool pte_needs_flush(pte_t old, pte_t new)\n{\n\tif (!old.pte) {\n", 7),
    ],
)
def test_half_a_rule_is_refused(tmp_path: Path, text: str, line: int) -> None:
    """A rule whose end the patch does not show is refused, with the last line of it and what to do."""
    with pytest.raises(KernelError) as refused:
        rule_of(text_at(patch(tmp_path, hunk(5, text), hunk(40, "\treturn false;\n}\n"))))

    assert str(refused.value) == (
        f"{HEADER}:{line}: the patch does not show all of what is defined here. "
        "A patch that is made with git diff -U2000 has all of its files."
    )


@pytest.mark.parametrize("half", ["#define NEEDED(a) \\\n", "static inline int needed(int a)\n{\n"])
def test_half_of_what_a_rule_needs_is_refused(tmp_path: Path, half: str) -> None:
    """A rule that uses what is shown in part is refused too."""
    name = "NEEDED" if "NEEDED" in half else "needed"
    rule = RULE.replace("return (old ^ new)", f"return {name}(old)")
    with pytest.raises(KernelError, match="does not show all"):
        rule_of(text_at(patch(tmp_path, hunk(1, half), hunk(50, rule))))


@pytest.mark.parametrize("path", TREES)
def test_random_patches_of_a_tree(path: Path, tmp_path: Path) -> None:
    """Of patches that change random lines with random context, each that shows the rule's functions decides as the
    whole header does, and no other one decides otherwise.
    """
    before = (path / HEADER).read_text().splitlines()
    first = next(at for at, line in enumerate(before) if "pte_flags_need_flush(uns" in line)
    last = next(at for at, line in enumerate(before) if "define huge_pmd_needs_flush" in line)
    draws = random.Random(1)
    entries = [PAGE ^ 1 << bit for bit in range(64)]
    shown = 0
    tree = rule_of(text_at(path)).needs_flush
    for context in (1, 8, 12, 15):
        changed = {*range(first, last + 1, context), *draws.sample(range(len(before)), 3)}
        after = [line + " " * (at in changed) for at, line in enumerate(before)]
        made = difflib.unified_diff(before, after, f"a/{HEADER}", f"b/{HEADER}", n=context)
        file = tmp_path / f"{context}.patch"
        file.write_text("\n".join(line.rstrip("\n") for line in made) + "\n")
        rule = rule_of(text_at(file)).needs_flush
        shown += 1
        assert [rule(PAGE, new) for new in entries] == [tree(PAGE, new) for new in entries]
    assert shown == 4


def test_only_the_file_that_has_the_rule_counts(tmp_path: Path) -> None:
    """Of a patch of several files, a caller of the rule and a file without it take no part."""
    other = hunk(
        1,
        "bool pte_needs_flush_calls;\nint pte_flags(int);\nint f(void)\n{\n\treturn pte_needs_flush(a, b);\n}",
    )
    path = patch(tmp_path, other, name="mm/mprotect.c")
    path.write_text(path.read_text() + patch_of("arch/um/asm/flush.h", RULE))
    rule = rule_of(text_at(path))

    assert decisions(rule) == EXPECTED
    assert rule.places["pte_needs_flush"] == "arch/um/asm/flush.h:10"


def patch_of(name: str, text: str) -> str:
    """Return the text of a patch that makes a new file."""
    return f"--- /dev/null\n+++ b/{name}\n" + hunk(1, text).replace("@@ -1,", "@@ -0,")


@pytest.mark.parametrize("prefix", ["b/", "", "linux-7.3/"])
def test_headers_of_a_patch_count_by_their_names(tmp_path: Path, prefix: str) -> None:
    """What the rule uses may be in another header that the patch changes, whatever stands before its name."""
    other = "arch/x86/include/asm/pgtable_types.h"
    path = tmp_path / "rule.patch"
    text = patch_of(other, "#define _PAGE_OTHER (_PAGE_RW)\n") + patch_of(
        HEADER, RULE.replace("_PAGE_RW", "_PAGE_OTHER")
    )
    path.write_text(text.replace("+++ b/", f"+++ {prefix}"))
    rule = rule_of(text_at(path))

    assert decisions(rule) == EXPECTED
    assert rule.places["needs"] == f"{HEADER}:2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (hunk(1, "a\nb") + hunk(2, "c"), "twice, or backwards"),
        ("@@ -1 +1 @@\n-a\n+b\n+c\n", "has more lines in a hunk"),
        (hunk(99_999_999_999, "a"), "which no file has"),
        (hunk(1, "#if A\n#if B\n") + hunk(4, "a"), "does not show the end of a condition"),
    ],
)
def test_a_patch_that_contradicts_itself(text: str, words: str) -> None:
    """Hunks that overlap, or have other lines than they say, are no patch."""
    with pytest.raises(PatchError, match=words):
        new_sides(text)


def test_what_follows_a_hunk_is_no_part_of_it() -> None:
    """The signature of a mail, the next file's header and a removed line that looks like it are told apart."""
    text = (
        "--- a/x\n+++ b/x\n@@ -1,2 +1 @@\n--- removed\n int a;\n-- \n2.39\n\n"
        "diff --git a/y b/y\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+int b;\n\\ No newline at end of file\n"
    )

    assert new_sides(text) == {"x": "int a;\n", "y": "int b;\n"}


@pytest.mark.parametrize(
    "line", ["}", "int a", "/*", "#if A", "#endif", "a {", '"', "\\", "#define a \\"]
)
def test_the_time_grows_with_the_length(line: str) -> None:
    """A hostile hunk costs time in proportion to its length: each kind of line is counted at most a few times."""
    lines: Iterable[str] = [line] * 100_000
    kept, _ = shown_whole(list(lines))

    assert len(kept) == 100_000
