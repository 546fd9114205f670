"""Machinery that is made to do more than flush: nothing of it runs, and the sentence says where it is."""

from pathlib import Path

import pytest

from shootdown.kernel.machinery import FORMS, machinery_of
from shootdown.kernel.splicer import FLUSHING
from shootdown.kernel.text import KernelError, text_at
from shootdown.policy.source import PolicyError, load_policy
from shootdown.run.execute import execute
from shootdown.run.held import held
from shootdown.scenario import parse
from tests.kernel_copies import edited
from tests.trees import TREES

LAST = pytest.mark.parametrize("tree", TREES[-1:])
HEADER = "arch/x86/include/asm/tlbflush.h"


def every_form(tree: Path) -> None:
    """Compile a text as campaigns, the search for accesses and watched runs do."""
    for form in FORMS:
        machinery_of(text_at(tree)).library(2, form)


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

    with pytest.raises(KernelError, match=rf"{file}:\d+: .* no use for .*{words}"):
        every_form(copy)


@LAST
def test_a_name_of_the_shim(tree: Path, tmp_path: Path) -> None:
    """A text that defines a function of kernel/shim is told its name."""
    edit = (FLUSHING, r"\Z", "int kernel_cpu(void) { return 0; }\n")

    with pytest.raises(PolicyError, match=r"kernel_cpu.* twice"):
        load_policy(f"c:{edited(tree, tmp_path, edit)}")


INFO = r"(struct flush_tlb_info \*info = data;)"
"""Where should_flush_tlb begins, which is asked about each other CPU."""


@LAST
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("volatile char more[1 << 15]; more[0] = 1;", "SIGSEGV in the story"),
        ("volatile char more[1 << 13]; more[0] = 1;", ""),
        ("kernel_note(NOTE_FREE_TABLE, 12345, 0);", "what no machine has in the story"),
        ("static int more[1 << 14];", ""),
        ("static int more[1 << 14]; more[cpu]++;", "more variables than"),
        ("struct cpumask all = { ~0UL }; on_each_cpu_mask(&all, flush_tlb_func, info, 1);", ""),
    ],
)
def test_what_a_text_asks_for(tree: Path, tmp_path: Path, code: str, words: str) -> None:
    """A text that needs more than there is, is refused in one sentence, with the story."""
    copy = edited(tree, tmp_path, (FLUSHING, INFO, lambda found: f"{found[1]} {code}"))

    if not words:
        assert held(f"c:{copy}").stories
    else:
        with pytest.raises(KernelError, match=words) as raised:
            held(f"c:{copy}")
        assert "\n" not in str(raised.value)


@LAST
def test_a_text_that_waits_for_ever(tree: Path, tmp_path: Path) -> None:
    """A text in which every CPU waits breaks rule C8, in each story that comes to that place."""
    copy = edited(
        tree, tmp_path, (FLUSHING, INFO, lambda found: f"{found[1]} for (;;) cpu_relax();")
    )
    stuck = [ours for _, theirs, ours in held(f"c:{copy}").differ if theirs == "legal"]

    assert set(stuck) == {"illegal kernel-stuck"}


SCENARIO = (
    "shootdown-scenario 1\ncpus 2\npages 1\nlayout private\n\n"
    "cpu0 write p0\ncpu1 read p0\ncpu0 mprotect p0 r\n"
)


@LAST
@pytest.mark.parametrize(
    ("code", "where"),
    [
        ("write_cr3(~0UL);", "where no page table is"),
        ("for (int i = 0; i < 600; i++) kernel_note(NOTE_IPI, 0, 0);", "more than one step"),
    ],
)
def test_nonsense_is_an_outcome(tree: Path, tmp_path: Path, code: str, where: str) -> None:
    """What the simulation cannot carry out breaks rule C8, and nothing is left out in silence."""
    copy = edited(tree, tmp_path, (FLUSHING, INFO, lambda found: f"{found[1]} {code}"))
    outcome = execute(parse(SCENARIO).scenario, load_policy(f"c:{copy}").policy.make())

    assert outcome.rule == "C8"
    assert outcome.violation is not None
    assert where in outcome.violation.where


@LAST
@pytest.mark.parametrize("gone", ["arch/x86/include/asm/mmu.h", "include/asm-generic/tlb.h"])
def test_a_header_that_is_absent(tree: Path, tmp_path: Path, gone: str) -> None:
    """A tree without a header that the machinery needs is refused with the header's name."""
    copy = edited(tree, tmp_path)
    (copy / gone).unlink()

    with pytest.raises(PolicyError, match=f"has no {gone}"):
        load_policy(f"c:{copy}")


@LAST
def test_a_configuration_that_does_not_fit(tree: Path) -> None:
    """An option without which the rest of the kernel is another one is refused without the name of a file here."""
    with pytest.raises(PolicyError, match=r"^The text does not fit .* 'local'"):
        load_policy(f"c:{tree},CONFIG_MMU_GATHER_NO_GATHER")
