"""The flush machinery of a kernel's own text: whole files of a tree under the simulation."""

from pathlib import Path
from random import Random

import pytest

from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.kernel.known_texts import is_known, likeness_of
from shootdown.kernel.machinery import machinery_of
from shootdown.kernel.splicer import FLUSHING, GATHERING
from shootdown.kernel.strategy import KernelFlush
from shootdown.kernel.text import text_at
from shootdown.mm.watch import Watch
from shootdown.mm.world import FlushStrategy
from shootdown.optimized.policies import REGISTRY
from shootdown.policy.source import PolicyError, load_policy
from shootdown.run.execute import Outcome, apply, boot, execute, finish
from shootdown.run.held import held
from shootdown.scenario import Scenario, corpus, kinds, parse
from tests.command import inside
from tests.kernel_copies import edited
from tests.trees import TREES

DEBUG = pytest.mark.parametrize("option", ["", ",debug-vm"], ids=["production", "debug-vm"])
EVERY = pytest.mark.parametrize("tree", TREES)
LAST = pytest.mark.parametrize("tree", TREES[-1:])


def strategy_of(tree: Path, option: str = "") -> FlushStrategy:
    """Return the strategy that runs a tree's text."""
    return load_policy(f"c:{tree}{option}").policy.make()


def judged(outcome: Outcome) -> tuple[str, str]:
    """Return the verdict and the reason."""
    return outcome.verdict, outcome.reason


@EVERY
@DEBUG
def test_the_stories_agree(tree: Path, option: str) -> None:
    """Each story has the same verdict on the text of a release as on the model, also with its assertions."""
    text, model = strategy_of(tree, option), REGISTRY["linux"].make()
    for name, parsed in corpus.load().items():
        ours, theirs = execute(parsed.scenario, text), execute(parsed.scenario, model)
        assert judged(ours) == judged(theirs), name


def deliberate(scenario: Scenario) -> bool:
    """Return whether every pause of a scenario is at a named point that the models have too."""
    poke = [kind.name for kind in kinds.KINDS].index("poke")
    return not any(
        0 < run < kinds.FIRST_POINT or kind == poke for kind, _, run, *_ in scenario.records
    )


@EVERY
def test_random_scenarios_agree(tree: Path) -> None:
    """Random scenarios have the same verdict; without pauses by number, which are other places, as many flushes."""
    text, model = strategy_of(tree), REGISTRY["linux"].make()
    rng = Random(11)
    flushes = [0, 0]
    for _ in range(150):
        scenario = random_scenario(rng)
        ours, theirs = execute(scenario, text), execute(scenario, model)
        assert judged(ours) == judged(theirs)
        if deliberate(scenario):
            flushes[0] += ours.costs[0]
            flushes[1] += theirs.costs[0]
    assert flushes[0] == flushes[1] > 0


@EVERY
def test_a_known_text(tree: Path) -> None:
    """The trees that the tests use are the known texts."""
    assert is_known(machinery_of(text_at(tree)).sources)


@EVERY
def test_accesses_have_stops(tree: Path) -> None:
    """In the stories, the text reads and writes what CPUs share only after a stop; but for one write under a lock."""
    found = held(f"c:{tree}")

    assert {function for function, *_ in found.unstopped} <= {"mm_assign_global_asid"}
    assert not found.differ


@LAST
def test_a_plain_access_is_found(tree: Path, tmp_path: Path) -> None:
    """A read of a generation without the primitive is found, with its function and line."""
    edit = (
        FLUSHING,
        r"(mm_tlb_gen = )atomic64_read\(&(loaded_mm->context\.tlb_gen)\)",
        r"\1\2.counter",
    )
    copy = edited(tree, tmp_path, edit)
    text = (copy / FLUSHING).read_text().splitlines()

    found = held(f"c:{copy}").unstopped
    places = {place: function for function, place, writes in found if not writes}
    # A handler on another CPU is one step, so only what the sender itself handles could be interrupted.
    for place, function in places.items():
        name, _, line = place.rpartition(":")
        assert (name, function) == (FLUSHING, "flush_tlb_func")
        assert "context.tlb_gen" in text[int(line) - 1]
    assert places


@LAST
def test_an_unknown_text(tree: Path, tmp_path: Path) -> None:
    """An edit makes a text unknown, with the number of hunks and the file; the stories that it breaks are named."""
    edit = (FLUSHING, r"f->new_tlb_gen != TLB_GENERATION_INVALID &&\s*", "")
    copy = edited(tree, tmp_path, edit)

    like = likeness_of(machinery_of(text_at(copy)).sources)
    assert (like.hunks, like.files) == (1, (FLUSHING,))
    assert "good_batched_flush_has_no_generation" in {
        name for name, theirs, ours in held(f"c:{copy}").differ if theirs == "legal" != ours
    }


WARNING = (
    "shootdown-scenario 1\ncpus 2\npages 1\nlayout private\n\n"
    "cpu0 write p0\ncpu1 read p0\ncpu0 mprotect p0 r\n"
)


@LAST
@pytest.mark.parametrize(
    ("assertion", "option", "reason"),
    [
        ("WARN_ON(info->mm)", "", "kernel-warning"),
        ("BUG_ON(info->mm)", "", "kernel-warning"),
        ("VM_WARN_ON(info->mm)", "", ""),
        ("VM_WARN_ON(info->mm)", ",debug-vm", "kernel-warning"),
        ("VM_WARN_ON_ONCE(!info)", ",debug-vm", ""),
    ],
)
def test_assertions_are_outcomes(
    tree: Path, tmp_path: Path, assertion: str, option: str, reason: str
) -> None:
    """A failed assertion of the text breaks rule C8, with its function, place and condition; VM_ ones with DEBUG_VM."""
    edit = (FLUSHING, r"(struct flush_tlb_info \*info = data;)", rf"\1 {assertion};")
    copy = edited(tree, tmp_path, edit)
    outcome = execute(parse(WARNING).scenario, strategy_of(copy, option))

    assert outcome.reason == reason
    if reason:
        assert outcome.rule == "C8"
        assert outcome.violation is not None
        assert outcome.violation.where.startswith(f"should_flush_tlb, {FLUSHING}:")
        assert outcome.violation.where.endswith(": info->mm")


class Decisions(Watch):
    """A watch that keeps what the text decides."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def decided(self, cpu: int, what: str) -> None:
        """Keep the words."""
        assert what.startswith(f"cpu{cpu} ")
        self.words.append(what)


@LAST
def test_a_decision_has_its_line(tree: Path) -> None:
    """A watched run says which CPUs a flush leaves out, and the line of the text that decides it."""
    scenario = parse(WARNING.replace("cpu0 mprotect", "cpu1 lazy\ncpu0 mprotect")).scenario
    watch = Decisions()
    execute(scenario, strategy_of(tree), watch=watch)
    lines = (tree / FLUSHING).read_text().splitlines()

    assert len(watch.words) == 1
    words, _, place = watch.words[0].rpartition(", ")
    assert words == "cpu1 is left out: should_flush_tlb"
    at = int(place.removeprefix("tlb.c:"))
    assert "is_lazy" in lines[at - 2]
    assert "return false" in lines[at - 1]


@LAST
def test_a_watched_run_is_the_same_run(tree: Path) -> None:
    """The form of the text that knows its lines makes as many steps, and ends in the same way."""
    strategy = strategy_of(tree)
    for name, parsed in corpus.load().items():
        if name.startswith("good_"):
            plain = execute(parsed.scenario, strategy)
            watched = execute(parsed.scenario, strategy, watch=Watch())
            assert judged(plain) == judged(watched), name


@EVERY
def test_copies_of_worlds(tree: Path) -> None:
    """A world that is copied before each record, while other worlds run in between, ends as the plain run does."""
    strategy = strategy_of(tree)
    for parsed in list(corpus.load().values())[::4]:
        scenario = parsed.scenario
        plain = execute(scenario, strategy)
        if plain.verdict != "legal":
            continue
        w, oracle = boot(scenario.header, strategy)
        for record in scenario.records:
            copy, other = oracle.fork()
            apply(w, record)
            oracle.detach()
            w, oracle = copy, other
            apply(w, record)
        for cpu in range(w.cpus):
            finish(w, cpu)
        oracle.at_rest()
        assert w.costs == plain.costs


@LAST
@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (
            (FLUSHING, r"(struct flush_tlb_info \*info = data;)", r"\1 no_such_name = 1;"),
            rf"{FLUSHING}:\d+: 'no_such_name' undeclared",
        ),
        ((FLUSHING, r"(struct flush_tlb_info \*info = data;)", r"\1 getpid();"), "getpid"),
        (
            ("arch/x86/include/asm/tlbflush.h", r"TLB_NR_DYN_ASIDS\t", "TLB_NR_ASIDS\t"),
            "TLB_NR_DYN_ASIDS",
        ),
        (
            (GATHERING, r"void tlb_flush_mmu\(struct mmu_gather \*tlb\)", "void flush(void *tlb)"),
            "tlb_flush_mmu",
        ),
        (
            (FLUSHING, r"(static bool should_flush_tlb\()", r"\n#undef READ_ONCE\n\1"),
            rf"{FLUSHING}:\d+: READ_ONCE is what the simulation defines here",
        ),
    ],
    ids=[
        "does not compile",
        "calls the process",
        "has no ASIDs",
        "lacks a function",
        "has no stop",
    ],
)
def test_a_text_that_does_not_fit(
    tree: Path, tmp_path: Path, edit: tuple[str, str, str], sentence: str
) -> None:
    """A text that cannot be compiled is one sentence, with the tree's file and line where there is one."""
    with pytest.raises(PolicyError, match=sentence) as raised:
        load_policy(f"c:{edited(tree, tmp_path, edit)}")
    assert "\n" not in str(raised.value)


@LAST
def test_an_instruction_that_is_not_known(tree: Path, tmp_path: Path) -> None:
    """An instruction that the simulated processor does not have is an outcome where it is executed."""
    edit = (
        FLUSHING,
        r"(struct flush_tlb_info \*info = data;)",
        r'\1 asm volatile("wbinvd" ::: "memory");',
    )
    outcome = execute(parse(WARNING).scenario, strategy_of(edited(tree, tmp_path, edit)))

    assert outcome.reason == "kernel-warning"
    assert outcome.violation is not None
    assert "instruction" in outcome.violation.where


@LAST
def test_a_tree_without_the_machinery(tree: Path, tmp_path: Path) -> None:
    """A folder without tlb.c is refused with the name of the file; its rule alone can be tried."""
    copy = edited(tree, tmp_path)
    (copy / FLUSHING).unlink()

    with pytest.raises(PolicyError, match=FLUSHING):
        load_policy(f"c:{copy}")
    load_policy(f"c-rule:{copy}")


@LAST
def test_broadcasts_are_used(tree: Path) -> None:
    """With INVLPGB, a text that has it gives a space on two CPUs a global ASID, and sends no interrupt after that."""
    text = WARNING.replace("layout private\n", "layout private\nmachine invlpgb\n")
    text += (
        "cpu1 read p0\ncpu0 mprotect p0 rw\ncpu1 write p0\ncpu0 mprotect p0 r\ncpu1 read p0\n" * 2
    )
    strategy = strategy_of(tree)
    outcome = execute(parse(text).scenario, strategy)
    assert isinstance(strategy, KernelFlush)

    has = "invlpgb" in (tree / FLUSHING).read_text()
    # A space with a global ASID has no TLB that is behind.
    assert (outcome.world.flush_state.library.c.kernel_behind(0, 2) < 0) == has


@LAST
def test_policies_shows_a_text(tree: Path, tmp_path: Path) -> None:
    """`shootdown policies` says of a text, by a path of the user's folder, how it differs and which stories agree."""
    edit = (FLUSHING, r"f->new_tlb_gen != TLB_GENERATION_INVALID &&\s*", "")
    edited(tree, tmp_path / "linux", edit)
    ended = inside(tmp_path, "policies", "c:linux")
    words = " ".join(ended.out.split())

    assert ended.code == 0
    assert f"Its text is unknown: 1 hunk differs from {tree.name}" in words
    assert "good_batched_flush_has_no_generation: legal on the models, illegal" in words
