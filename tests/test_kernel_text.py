"""The files of a tree, an archive and a folder: the right ones, by their names, with their lines."""

import io
import shutil
import tarfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from shootdown.kernel.conditions import asked_options
from shootdown.kernel.decision import deciding_line
from shootdown.kernel.directives import harmless, refuse_code
from shootdown.kernel.items import items_in
from shootdown.kernel.rule import rule_of
from shootdown.kernel.text import KernelError, text_at
from shootdown.machine.entry import ACCESSED, NX, PRESENT, RW, USER
from shootdown.machine.geometry import FRAME_BITS
from tests.kernel_texts import HEADER, RULE, tree
from tests.trees import TREES

PAGE = PRESENT | USER | FRAME_BITS[5]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test its own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def decides(path: Path) -> tuple[bool, ...]:
    """Return the answers of the rule at a path for a few changes."""
    rule = rule_of(text_at(path)).needs_flush
    changes = [(PAGE, PAGE | RW), (PAGE, PAGE | ACCESSED), (PAGE | NX, PAGE), (0, PAGE), (PAGE, 0)]
    return tuple(rule(*change) for change in changes)


EXPECTED = (True, False, True, False, True)


def archive(path: Path, *members: tuple[str, str]) -> Path:
    """Make an archive of files in that order."""
    with tarfile.open(path, "w") as made:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            made.addfile(member, io.BytesIO(content.encode()))
    return path


@pytest.mark.parametrize("root", ["", "./", "linux/"])
def test_the_copies_in_a_tree_are_not_the_tree(tmp_path: Path, root: str) -> None:
    """Makefiles and headers of the folders tools and Documentation are not taken for those of the tree, even if they
    come first.
    """
    copy = "include/uapi/linux/const.h"
    path = archive(
        tmp_path / "linux.tar",
        (f"{root}Documentation/Makefile", "VERSION = 1\nPATCHLEVEL = 1\n"),
        (f"{root}tools/{copy}", "#error the copy\n"),
        (f"{root}Makefile", "VERSION = 6\nPATCHLEVEL = 99\n"),
        (f"{root}{HEADER}", RULE),
        (f"{root}{copy}", "\n"),
    )

    assert decides(path) == EXPECTED
    assert rule_of(text_at(path)).release == "6.99"


def test_an_archive_of_copies_is_a_sentence(tmp_path: Path) -> None:
    """An archive with a wanted file in more folders than fit into the memory is refused."""
    copy = "#define A 1\n" * 300_000
    path = archive(tmp_path / "a.tar", *((f"{at}/{HEADER}", copy) for at in range(20)))
    with pytest.raises(KernelError, match="too many copies"):
        rule_of(text_at(path))


def test_names_in_an_archive_are_printable(tmp_path: Path) -> None:
    """A member's name with control characters is shown without them."""
    path = archive(tmp_path / "a.tar", (f"lin\x1b[31mux/{HEADER}", "\0"))
    with pytest.raises(KernelError, match="zero byte") as refused:
        rule_of(text_at(path))

    assert str(refused.value).isprintable()


def test_what_gcc_repeats_is_short_and_printable(tmp_path: Path) -> None:
    """Control characters and endless names of a text do not reach the terminal."""
    text = RULE.replace("return false", f"return \x1b[31m {'x' * 500}")
    with pytest.raises(KernelError) as refused:
        rule_of(text_at(tree(tmp_path, text)))
    with pytest.raises(KernelError) as long:
        rule_of(text_at(tree(tmp_path, RULE.replace("return false", f"return {'x' * 500}"))))

    assert str(refused.value).isprintable()
    assert len(str(long.value)) < 250


@pytest.mark.parametrize("path", TREES)
def test_a_folder_with_the_headers_of_x86_alone(path: Path, tmp_path: Path) -> None:
    """A folder with only arch/x86/include/asm decides as the tree does: the rest is the same everywhere."""
    shutil.copytree((path / HEADER).parent, (tmp_path / HEADER).parent)
    alone, whole = (rule_of(text_at(each)).needs_flush for each in (tmp_path, path))
    entries = [PAGE, 0, *(PAGE ^ 1 << bit for bit in range(64))]

    assert [alone(a, b) for a in entries for b in entries] == [
        whole(a, b) for a in entries for b in entries
    ]


@pytest.mark.parametrize("kind", ["rule.c", "my own rule.c", "rule.h", "driver", "text.py"])
def test_a_file_is_called_by_its_name(tmp_path: Path, kind: str) -> None:
    """A C file's own name is in complaints, in the places of functions and of decisions, whatever it is."""
    file = tmp_path / kind
    file.write_text(RULE.replace("_PAGE_RW", "_PAGE_WRONG"))
    with pytest.raises(KernelError, match=rf"^{kind}:4: .*_PAGE_WRONG"):
        rule_of(text_at(file))
    file.write_text("\n" + RULE)
    rule = rule_of(text_at(file))

    assert rule.places["pte_needs_flush"] == f"{kind}:11"
    assert rule.needs_flush.branch(0, PAGE) == f"{kind}:14"


def test_a_file_named_like_the_shim_is_not_trusted(tmp_path: Path) -> None:
    """A name does not excuse assembler."""
    for name in ("rule.h", "bits.h", "driver", "<driver>", "<shim", "trace"):
        file = tmp_path / name
        file.write_text(RULE.replace("\treturn false", '\tasm("nop");\n\treturn false'))
        with pytest.raises(KernelError, match="no use for asm"):
            rule_of(text_at(file))


@pytest.mark.parametrize("sign", ["\u2028", "\x85", "\x1c", "\x0b", "\x0c"])
def test_lines_are_those_of_gcc(tmp_path: Path, sign: str) -> None:
    """A character that only some programs take for the end of a line moves no number."""
    text = RULE.replace("const unsigned long", f"/* {sign} */ const unsigned long")
    tree(tmp_path, text.replace("_PAGE_NX", "_PAGE_WRONG"))
    with pytest.raises(KernelError, match=f"{HEADER}:4: "):
        rule_of(text_at(tmp_path))
    tree(tmp_path, text)

    assert rule_of(text_at(tmp_path)).needs_flush.branch(0, PAGE) == f"{HEADER}:13"


HELPER = "helper(unsigned long a, unsigned long b)\n{\n\treturn a != b;\n}\n"
DECLARED = {
    "alignment": "static inline __aligned(16) bool " + HELPER,
    "a string": 'static inline bool __no_sanitize("x") ' + HELPER,
    "a format": "static __printf(1, 2) bool " + HELPER,
    "a size": "static inline __printf(sizeof(long), 2) bool " + HELPER,
    "an attribute": "static inline __attribute__((unused)) bool " + HELPER,
    "on its own line": "static inline\n__must_check bool\n" + HELPER,
    "a declaration": "static bool helper(unsigned long, unsigned long) __attribute__((const));\n"
    "static bool " + HELPER,
    "a pointer": "typedef bool (*helper_t)(unsigned long, unsigned long);\n"
    f"static inline bool other_{HELPER}static const helper_t helper = other_helper;\n",
    "a macro that ends": "#define TEST(a, b) ((a) != (b))\n"
    f"static inline bool {HELPER.replace('a != b', 'TEST(a, b)')}#undef TEST\n",
    "a macro with two meanings": "#define TEST(a, b) ((a) != (b))\n"
    f"static inline bool {HELPER.replace('a != b', 'TEST(a, b)')}#undef TEST\n#define TEST(a, b) TESTED\n",
    "an enumeration": "enum answer { NO, YES = 5 };\nstatic inline enum answer "
    + HELPER.replace("a != b", "a != b ? YES : NO"),
    "a table": "static const struct { unsigned long mask; } masks[] = { { ~0UL }, };\nstatic inline bool "
    + HELPER.replace("a != b", "(a ^ b) & masks[0].mask"),
}


@pytest.mark.parametrize("form", DECLARED)
def test_a_helper_is_found_in_every_form(tmp_path: Path, form: str) -> None:
    """What the rule calls is found, whatever attributes and macros stand around its name."""
    text = DECLARED[form] + RULE.replace(
        "pte_pfn(old) != pte_pfn(new)", "helper(pte_pfn(old), pte_pfn(new))"
    )

    assert decides(tree(tmp_path, text)) == EXPECTED


DECISION = """
static inline bool helper(unsigned long old, unsigned long new)
{
	unsigned long diff = old ^ new;

	if (diff & 4)
		return true;
	return diff & 2;
}

static inline bool pte_needs_flush(pte_t old, pte_t new)
{
	if (!(old.pte & 1))
		return false;
	if (helper(old.pte, new.pte))
		return true;
	if (old.pte & 8) return false;
	if (new.pte & 16)
		return true;
	return pte_pfn(old) != pte_pfn(new) ||
		helper(old.pte >> 4, new.pte >> 4);
}
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (0, 0, "return false;"),
        (1, 5, "return true;"),
        (9, 9, "if (old.pte & 8)"),
        (1, 17, "return true;"),
        (1, 0x1001, "return pte_pfn"),
        (1, 1, "return diff & 2"),
        (1, 0x41, "return true;"),
    ],
)
def test_the_line_that_decides(tmp_path: Path, old: int, new: int, words: str) -> None:
    """A decision after a helper has answered is the caller's; an answer that is passed on is the helper's."""
    rule = rule_of(text_at(tree(tmp_path, DECISION)))
    numbers = {
        (1, 5): 16,
        (1, 17): 19,
        (1, 0x41): 7,
        (0, 0): 14,
    }
    lines = DECISION.split("\n")
    (line, *_) = (
        [numbers[old, new]]
        if (old, new) in numbers
        else [at for at, text in enumerate(lines, 1) if words in text]
    )

    assert words in lines[line - 1]
    assert rule.needs_flush.branch(old, new) == f"{HEADER}:{line}"


def test_nothing_executed_decides_nothing() -> None:
    """Without a line there is no decision."""
    assert deciding_line([], ["return 1;"]) == 0


def test_options_of_conditions_around_a_definition() -> None:
    """A definition asks for the options in its lines, and in the conditions that it is in, alternatives too."""
    source = (
        "#ifdef CONFIG_A\n#if defined(CONFIG_B)\nint b;\n#else\nint c;\n#endif\n"
        "int a;\n#endif\nint d = CONFIG_D;\nint e;\n"
    )

    assert asked_options(source, [(3, 3)]) == {"A", "B"}
    assert asked_options(source, [(5, 5)]) == {"A", "B"}
    assert asked_options(source, [(7, 7)]) == {"A"}
    assert asked_options(source, [(9, 9)]) == {"D"}
    assert asked_options(source, [(10, 10)]) == set()


def test_a_quotation_mark_hides_no_code() -> None:
    """A quotation mark as a character begins no string: the assembler after it is seen."""
    with pytest.raises(KernelError, match="no use for asm"):
        refuse_code('# 1 "x"\nint a = \'"\'; asm("nop"); int b = \'"\';\n', frozenset())


HOSTILE = {
    "backslashes": "\\",
    "spaced backslashes": "\\ ",
    "continued lines": "\\\n",
    "quotation marks": '"\\',
    "comments": "/* ",
    "braces": "}\n",
    "open braces": "{",
    "enumerations": "enum ",
    "attributes": "__attribute__((unused)) ",
    "open attributes": "__attribute__((",
    "bodies": "int a\n{\n}\n{\n}\n",
    "parentheses": "f(",
    "a long name": "x",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_time_grows_with_the_length(kind: str) -> None:
    """Ten times the text costs about ten times the time, not a hundred times."""

    def seconds(length: int) -> float:
        text = HOSTILE[kind] * length + "*/\n;\n" + RULE
        begun = time.process_time()
        content = harmless(text, "x")
        items_in(f'# 1 "x"\n{content}')
        with suppress(KernelError):
            refuse_code(f'# 1 "x"\n{content}', frozenset())
        return time.process_time() - begun

    short = min(seconds(4_000) for _ in range(3))

    assert seconds(40_000) < 40 * short + 0.1
