"""Trees, archives and files that are broken, or do more than decide: each gets a sentence, and nothing is left over."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import inside
from tests.kernel_texts import HEADER, RULE, tree

ELSEWHERE = "a line of a file outside of the tree"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test its own cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def refused(folder: Path, path: Path | str, cache: Path) -> str:
    """Return the sentence that refuses a text; the cache has nothing of it."""
    ended = inside(folder, "policies", f"c-rule:{path}")
    assert (ended.code, ended.out) == (2, ""), ended
    (line,) = ended.err.splitlines()
    assert line.startswith("shootdown: ")
    assert line.endswith(".")
    assert "Traceback" not in line
    assert ELSEWHERE not in line
    assert not [file for file in cache.rglob("*") if file.is_file()]
    return line


def replaced(old: str, new: str) -> str:
    """Return the rule with some of its words replaced."""
    assert old in RULE
    return RULE.replace(old, new)


BODY = "\treturn (old ^ new) & watched;"
TEXTS: dict[str, tuple[str, str]] = {
    "empty": ("", "has none of the functions"),
    "nothing of C": ("This is a letter.\n", "has none of the functions"),
    "a binary file": ("\x7fELF\0\0\0", "zero byte"),
    "no rule": ("static inline int other(int x) { return x; }\n", "has none of the functions"),
    "a rule in a comment": (f"/* {RULE.replace('/*', '').replace('*/', '')} */", "none of"),
    "a rule in a string": ('static const char *text = "pte_needs_flush(pte_t a) {";\n', "none of"),
    "a rule that is switched off": (f"#if 0\n{RULE}\n#endif\n", "has none of the functions"),
    "a declaration alone": ("bool pte_needs_flush(pte_t old, pte_t new);\n", "pte_needs_flush"),
    "an open comment": (RULE + "\n/* and so", "comment does not end"),
    "an open brace": (
        RULE.rstrip()
        .removesuffix("#define pte_needs_flush pte_needs_flush")
        .rstrip()
        .removesuffix("}"),
        "none of",
    ),
    "an open condition": ("#ifdef CONFIG_SMP\n" + RULE, "unterminated"),
    "an end without a condition": (RULE + "#endif\n", "#endif without #if"),
    "an error directive": ("#error never\n" + RULE, "never"),
    "a name that is nowhere": (replaced("_PAGE_RW", "_PAGE_OTHER"), "_PAGE_OTHER"),
    "a function that is nowhere": (replaced(BODY, "\treturn elsewhere(old);"), "elsewhere"),
    "a function that is only declared": (
        "extern int elsewhere(unsigned long entry);\n" + replaced(BODY, "\treturn elsewhere(old);"),
        "elsewhere",
    ),
    "another number of arguments": (
        RULE.replace("pte_pfn(new)", "0")
        .replace("pte_flags(new)", "0")
        .replace(", pte_t new)", ")"),
        "the rule is no function of two entries",
    ),
    "another kind of argument": (replaced("pte_t old, pte_t new", "int *old, int *new"), ""),
    "a syntax error": (replaced(BODY, "\treturn (old ^^ new);"), "expected"),
    "a wrong type": (replaced("unsigned long old", "struct page old"), ""),
    "a condition at build time": (replaced("_PAGE_ACCESSED", "_PAGE_RW"), "BUILD_BUG_ON"),
    "a macro without end": (
        "#define ONE(x) TWO(TWO(TWO(TWO(x))))\n" + replaced(BODY, "\treturn ONE(old);"),
        "TWO",
    ),
    "assembler": (replaced(BODY, '\tasm volatile("nop");\n\treturn 0;'), "no use for"),
    "assembler by another name": (replaced(BODY, '\t__asm__("nop");\n\treturn 0;'), "no use for"),
    "assembler in a macro": (
        '#define NOP __asm__("nop")\n' + replaced(BODY, "\tNOP;\n\treturn 0;"),
        "no use for",
    ),
    "assembler that reads a file": (
        replaced(BODY, '\tasm(".incbin \\"/etc/hostname\\"");\n\treturn 0;'),
        "no use for",
    ),
    "a constructor": (
        "static int seen;\n__attribute__((constructor)) static void run(void) { seen = 1; }\n"
        + replaced(BODY, "\trun();\n\treturn 0;"),
        "no use for",
    ),
    "an indirect function": (
        'static int pick(void) __attribute__((ifunc("run")));\n'
        + replaced(BODY, "\treturn pick();"),
        "no use for",
    ),
    "a section": (
        '__attribute__((section(".init"))) static int run(void) { return 1; }\n'
        + replaced(BODY, "\treturn run();"),
        "no use for",
    ),
    "a pragma in a macro": (
        '#define POISON _Pragma("GCC poison old")\n' + replaced(BODY, "\tPOISON\n\treturn 0;"),
        "no use for",
    ),
    "a name that macros put together": (
        '#define PASTE(a, b) a##b\n#define NOP PASTE(as, m)("nop")\n'
        + replaced(BODY, "\tNOP;\n\treturn 0;"),
        "no use for asm",
    ),
    "an attribute that macros put together": (
        "#define PASTE(a, b) a##b\nstatic __attribute__((PASTE(con, structor))) int run(void) { return 1; }\n"
        + replaced(BODY, "\treturn run();"),
        "no use for the attribute constructor",
    ),
    "a constructor after brackets": (
        "static int seen;\n__attribute__((aligned((8)), constructor)) static void run(void) { seen = 1; }\n"
        + replaced(BODY, "\trun();\n\treturn 0;"),
        "no use for the attribute constructor",
    ),
    "a constructor on several lines": (
        "static int seen;\nstatic __attribute__\n((\nconstructor)) void run(void) { seen = 1; }\n"
        + replaced(BODY, "\trun();\n\treturn 0;"),
        "no use for the attribute constructor",
    ),
    "a constructor in other brackets": (
        "static int seen;\n<: [gnu::constructor] :> static void run(void) { seen = 1; }\n"
        + replaced(BODY, "\trun();\n\treturn 0;"),
        "no use for the attribute gnu",
    ),
    "a constructor that only optimized text has": (
        "#define WHEN_(x) WHEN_##x\n#define WHEN(x) WHEN_(x)\n"
        "#define WHEN_1 __attribute__((constructor))\n#define WHEN___OPTIMIZE__\n"
        "WHEN(__OPTIMIZE__) static int run(void) { return sizeof(struct { int WHEN_1; }) == 4; }\n"
        + replaced(BODY, "\treturn run();"),
        "no use for the attribute constructor",
    ),
    "a pragma that macros put together": (
        "#define PASTE(a, b) a##b\n"
        + replaced(BODY, '\tPASTE(_Pra, gma)("weak other")\n\treturn 0;'),
        "no use for #pragma",
    ),
    "a computed goto": (
        replaced(BODY, "\tvoid *to = (&&out + 0);\n\tgoto *to;\nout:\n\treturn 0;"),
        "no use for a computed goto",
    ),
    "a function of the process": (
        "extern int system(const char *) __attribute__((weak));\n"
        + replaced(BODY, '\treturn system && system("true");'),
        "no use for the attribute weak",
    ),
    "the address of the caller": (
        replaced(BODY, "\treturn !__builtin_return_address(0);"),
        "no use for __builtin_return_address",
    ),
    "a loop without end": (
        replaced(
            BODY, "\tfor (unsigned int bit = 63; bit >= 0; bit--)\n\t\told ^= bit;\n\treturn old;"
        ),
        "does not return",
    ),
    "a trap": (replaced(BODY, "\treturn 64 % (int)((old ^ new) & 7);"), "ends with SIG"),
    "a null pointer": (replaced(BODY, "\treturn *(volatile int *)(old ^ new);"), "ends with SIG"),
    "a raw string": ('static const char *text = R"(x)";\n' + RULE, "raw string"),
    "a question about a file": (
        '#if __has_include("/etc/hostname")\n#define YES 1\n#endif\n'
        + replaced(BODY, "\treturn YES;"),
        "",
    ),
    "a system call": (replaced(BODY, '\treturn system("true");'), "system"),
    "a file that is opened": (replaced(BODY, '\treturn !fopen("/etc/hostname", "r");'), "fopen"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_bad_text_is_a_sentence(name: str, tmp_path: Path, cache: Path) -> None:
    """A text without a rule, or with one that does not compile or does more than decide, is refused with the reason."""
    text, words = TEXTS[name]
    line = refused(tmp_path, tree(tmp_path / "linux", text), cache)

    assert words in line


def test_a_conjunction_is_no_label(tmp_path: Path, cache: Path) -> None:
    """A rule may end with the conjunction of two names."""
    text = replaced(BODY, "\tunsigned long both = old && new;\n\treturn both ^ 1;")
    ended = inside(tmp_path, "policies", f"c-rule:{tree(tmp_path / 'linux', text)}")

    assert ended.code == 0, ended
    assert cache.exists()


INCLUDES = (
    '#include "{outside}"',
    "#include <{outside}>",
    '#  include   "{outside}"',
    '#inc\\\nlude "{outside}"',
    '%:include "{outside}"',
    '#inc\\\r\r\nlude "{outside}"',
    '/* */ #include "{outside}"',
    '#/* */include "{outside}"',
    '#include_next "{outside}"',
    '#import "{outside}"',
    '#define WHERE "{outside}"\n#include WHERE',
    '#include "../../../../../outside.h"',
    f'#include "{HEADER}"',
)


@pytest.mark.parametrize("include", INCLUDES)
def test_no_other_file_is_read(include: str, tmp_path: Path, cache: Path) -> None:
    """A directive that reads a file, in any form, reads none: the definitions of the file are not known."""
    outside = tmp_path / "outside.h"
    outside.write_text(f"#define OUTSIDE 1\n/* {ELSEWHERE} */\n")
    text = include.format(outside=outside) + "\n" + replaced(BODY, "\treturn OUTSIDE;")
    line = refused(tmp_path, tree(tmp_path / "linux", text), cache)

    assert "OUTSIDE" in line


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def _linked_folder(path: Path) -> None:
    real = path.parent.rename(path.parents[1] / "real")
    path.parent.symlink_to(real)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _huge(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(5 << 20)


def _gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [_link, _linked_folder, _fifo, _folder, _huge, _gone])
def test_a_bad_file_is_a_sentence(
    change: Callable[[Path], None], tmp_path: Path, cache: Path
) -> None:
    """A tree whose header is a link, no regular file, enormous or absent is refused, without a wait."""
    folder = tree(tmp_path / "linux")
    change(folder / HEADER)

    refused(tmp_path, folder, cache)


def archive(path: Path, *members: tuple[str, bytes | str]) -> Path:
    """Make an archive of files, and of links if the content is a text."""
    with tarfile.open(path, "w:gz") as made:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                made.addfile(member)
            else:
                member.size = len(content)
                made.addfile(member, io.BytesIO(content))
    return path


def test_an_archive_with_links(tmp_path: Path, cache: Path) -> None:
    """A member that is a link is no file."""
    path = archive(tmp_path / "a.tar.gz", (f"linux/{HEADER}", "/etc/hostname"))

    assert "no regular file" in refused(tmp_path, path, cache)


def test_an_archive_that_leaves_its_folder(tmp_path: Path, cache: Path) -> None:
    """A member outside the archive's folder is not the header, and is written nowhere."""
    path = archive(tmp_path / "a.tar.gz", (f"../{HEADER}x", RULE.encode()), ("../../evil", b"x"))

    assert "has no" in refused(tmp_path, path, cache)
    assert not (tmp_path.parent / "evil").exists()


def test_a_torn_archive(tmp_path: Path, cache: Path) -> None:
    """An archive that ends too early is refused."""
    path = archive(tmp_path / "a.tar.gz", (f"linux/{HEADER}", os.urandom(100_000)))
    path.write_bytes(path.read_bytes()[:50_000])

    refused(tmp_path, path, cache)


@pytest.mark.parametrize(
    "path", ["", "/dev/null", "/dev/zero", "absent", "~nobody-here/linux", "x\ny"]
)
def test_what_is_no_text(path: str, tmp_path: Path, cache: Path) -> None:
    """A path that names nothing, or nothing that could be a text, is refused."""
    refused(tmp_path, path, cache)


def test_a_name_with_quotes_and_spaces(tmp_path: Path, cache: Path) -> None:
    """A tree may have any name that a folder may have."""
    folder = tree(tmp_path / "my 'own' \"linux\" $(touch x) ; #1")
    ended = inside(tmp_path, "policies", f"c-rule:{folder}")

    assert ended.code == 0, ended
    assert not (tmp_path / "x").exists()
    assert len(list(cache.rglob("rule.so"))) == 1


def test_the_tree_is_not_written(tmp_path: Path, cache: Path) -> None:
    """A read-only tree works like another one, and does not change."""
    folder = tree(tmp_path / "linux")
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    ended = inside(tmp_path, "policies", f"c-rule:{folder}")

    assert ended.code == 0, ended
    assert cache.exists()
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def test_without_a_compiler(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gcc the sentence says so."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "gcc" in refused(tmp_path, tree(tmp_path / "linux"), cache)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder that is a file is an error that names it."""
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ended = inside(tmp_path, "policies", f"c-rule:{tree(tmp_path / 'linux')}")

    assert ended.code == 2
    assert "cannot be written" in ended.err
