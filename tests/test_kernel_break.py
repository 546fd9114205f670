"""Machinery that is made to do more than flush: nothing of it runs, and the sentence says where it is."""

from pathlib import Path

import pytest

from shootdown.kernel.machinery import FLUSHING
from shootdown.policy.source import PolicyError, load_policy
from tests.kernel_copies import edited
from tests.trees import TREES

LAST = pytest.mark.parametrize("tree", TREES[-1:])
HEADER = "arch/x86/include/asm/tlbflush.h"
RUNS = "static void run(void) { *(volatile int *)8 = 1; }"


@LAST
@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        (FLUSHING, f"__attribute__((aligned((8)), constructor)) {RUNS}", "constructor"),
        (FLUSHING, f"[ [gnu::constructor] ] {RUNS}", "the attribute gnu"),
        (FLUSHING, f"<:<:gnu::constructor:>:> {RUNS}", "the attribute gnu"),
        (
            FLUSHING,
            f"#ifdef __OPTIMIZE__\n__attribute__((constructor))\n#endif\n{RUNS}",
            "constructor",
        ),
        (
            FLUSHING,
            f"#ifdef __SANITIZE_THREAD__\n__attribute__((constructor))\n#endif\n{RUNS}",
            "constructor",
        ),
        (
            HEADER,
            f"#ifndef __SANITIZE_THREAD__\n__attribute__((constructor))\n#endif\n{RUNS}",
            "constructor",
        ),
        (FLUSHING, '#define PASTE(a, b) a##b\nPASTE(_Pra, gma)("weak run")', "#pragma"),
        (FLUSHING, 'extern int run(void) asm("system");', "asm"),
    ],
)
def test_nothing_runs_when_it_is_loaded(
    tree: Path, tmp_path: Path, file: str, text: str, words: str
) -> None:
    """A constructor is found in every form of the text that is compiled, and however it is written."""
    copy = edited(tree, tmp_path, (file, r"\Z", lambda _: f"{text}\n"))

    with pytest.raises(PolicyError, match=rf"{file}:\d+: .* no use for .*{words}"):
        load_policy(f"c:{copy}")


@LAST
def test_a_name_of_the_shim(tree: Path, tmp_path: Path) -> None:
    """A text that defines a function of kernel/shim is told its name."""
    edit = (FLUSHING, r"\Z", "int kernel_cpu(void) { return 0; }\n")

    with pytest.raises(PolicyError, match=r"kernel_cpu.* twice"):
        load_policy(f"c:{edited(tree, tmp_path, edit)}")
