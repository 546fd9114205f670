"""What a patch may use of a kernel around tlb.c: each primitive of kernel/shim does what the kernel's does."""

from pathlib import Path

import pytest

from shootdown.kernel.splicer import FLUSHING
from shootdown.kernel.text import KernelError
from shootdown.policy.source import PolicyError, load_policy
from shootdown.run.execute import Outcome, execute
from shootdown.run.held import held
from shootdown.scenario import parse
from tests.kernel_copies import edited
from tests.trees import TREES

LAST = pytest.mark.parametrize("tree", TREES[-1:])
EVERY = pytest.mark.parametrize("tree", TREES)
SCENARIO = parse(
    "shootdown-scenario 1\ncpus 4\npages 1\nlayout private\n\n"
    "cpu0 write p0\ncpu1 read p0\ncpu0 mprotect p0 r\n"
).scenario
"""CPU 0 asks about CPU 1, the only other one that has the address space."""

PREPARED = """
static u64 word = 5, guarded;
static atomic_t count = ATOMIC_INIT(5);
static atomic64_t large = ATOMIC64_INIT(5);
static DEFINE_SPINLOCK(spin);
static DEFINE_MUTEX(sleeping);
static unsigned long flags;
static DEFINE_PER_CPU(u64, own) = 5;
static DECLARE_BITMAP(bits, 64);
static void called(void *info) { *(int *)info += 1 << smp_processor_id(); }
"""
FACTS = """
xchg(&word, 7) == 5 && word == 7
cmpxchg(&word, 5, 6) == 7 && word == 7
cmpxchg(&word, 7, 5) == 7 && word == 5
({ u64 old = 6; !try_cmpxchg(&word, &old, 7) && old == 5; })
({ u64 old = 5; try_cmpxchg(&word, &old, 5) && old == 5; })
smp_cond_load_acquire(&word, VAL == 5) == 5
({ smp_store_mb(word, 5); word == 5; })
this_cpu_xchg(own, 7) == 5 && this_cpu_read(own) == 7
this_cpu_cmpxchg(own, 5, 6) == 7 && this_cpu_cmpxchg(own, 7, 6) == 7 && this_cpu_read(own) == 6
({ u64 old = 6; this_cpu_try_cmpxchg(own, &old, 5); }) && this_cpu_sub_return(own, 1) == 4
({ __this_cpu_inc(own); raw_cpu_inc(own); this_cpu_or(own, 8); this_cpu_and(own, 12); this_cpu_read(own) == 12; })
per_cpu(own, 2) == 5 && get_cpu_var(own) == 12 && *get_cpu_ptr(&own) == 12
atomic_inc_return(&count) == 6 && atomic_dec_return(&count) == 5 && atomic_add_return(2, &count) == 7
atomic_sub_return(2, &count) == 5 && atomic_fetch_add(1, &count) == 5 && atomic_fetch_inc(&count) == 6
atomic_xchg(&count, 1) == 7 && atomic_dec_and_test(&count) && !atomic_inc_not_zero(&count)
atomic_add_unless(&count, 3, 1) && atomic_cmpxchg(&count, 3, 4) == 3 && atomic_read_acquire(&count) == 4
({ int old = 3; !atomic_try_cmpxchg(&count, &old, 9) && old == 4; })
atomic_fetch_or(3, &count) == 4 && atomic_fetch_and(6, &count) == 7 && atomic_read(&count) == 6
({ atomic_or(1, &count); atomic_andnot(2, &count); atomic_read(&count) == 5; })
({ atomic_add(1, &count); atomic_sub(2, &count); atomic_read(&count) == 4; })
atomic64_add_return(2, &large) == 7 && atomic64_fetch_inc(&large) == 7 && atomic64_xchg(&large, 1) == 8
({ s64 old = 1; atomic64_try_cmpxchg(&large, &old, 3); }) && atomic64_cmpxchg(&large, 4, 9) == 3
({ set_bit(3, bits); !test_and_set_bit(4, bits); }) && bits[0] == 0x18 && test_and_clear_bit(3, bits)
({ change_bit(0, bits); assign_bit(4, bits, false); __assign_bit(9, bits, true); bits[0] == 0x201; })
find_first_bit(bits, 64) == 0 && find_next_bit(bits, 64, 1) == 9 && find_first_zero_bit(bits, 64) == 1
({ int n = 0, bit; for_each_set_bit(bit, bits, 64) n += bit; n == 9; }) && bitmap_weight(bits, 64) == 2
({ bitmap_zero(bits, 64); bitmap_set(bits, 2, 3); bits[0] == 0x1c && !bitmap_empty(bits, 64); })
({ cpumask_t m = CPU_MASK_NONE; cpumask_set_cpu(1, &m); __cpumask_set_cpu(3, &m); m.bits == 10; })
cpumask_first(cpumask_of(2)) == 2 && cpumask_next(2, cpumask_of(2)) >= nr_cpu_ids && cpumask_any(cpumask_of(1)) == 1
cpumask_next_and(0, cpu_online_mask, cpumask_of(3)) == 3 && cpumask_next_zero(-1, cpu_online_mask) == 4
cpumask_subset(cpumask_of(1), cpu_online_mask) && !cpumask_intersects(cpumask_of(1), cpumask_of(2))
cpumask_equal(cpumask_of(1), cpumask_of(1)) && cpumask_weight_and(cpu_online_mask, cpumask_of(1)) == 1
({ cpumask_t m; cpumask_andnot(&m, cpu_online_mask, cpumask_of(1)) && m.bits == 13; })
({ cpumask_t m; !cpumask_and(&m, cpumask_of(2), cpumask_of(1)) && cpumask_empty(&m); })
({ cpumask_t m; cpumask_xor(&m, cpu_online_mask, cpumask_of(0)); cpumask_setall(&m); cpumask_full(&m); })
({ cpumask_var_t m; zalloc_cpumask_var(&m, GFP_ATOMIC) && cpumask_empty(m); })
({ int n = 0, c; for_each_cpu_and(c, cpu_online_mask, cpumask_of(3)) n += c; n == 3; })
({ int n = 0, c; for_each_cpu_andnot(c, cpu_online_mask, cpumask_of(3)) n += c; n == 3; })
({ int n = 0, c; for_each_cpu_or(c, cpumask_of(1), cpumask_of(3)) n += c; for_each_online_cpu(c) n += c; n == 10; })
num_online_cpus() == 4 && cpu_online(3) && !cpu_online(4)
({ int on = 0; smp_call_function_many(cpu_online_mask, called, &on, 1); on == 14; })
({ int on = 0; !smp_call_function_single(2, called, &on, 1) && on == 4; })
({ spin_lock_irqsave(&spin, flags); irqs_disabled() && !spin_trylock(&spin); })
({ spin_unlock_irqrestore(&spin, flags); spin_trylock(&spin); })
({ spin_unlock(&spin); mutex_lock(&sleeping); bool held = !mutex_trylock(&sleeping); mutex_unlock(&sleeping); held; })
({ scoped_guard(spinlock_irqsave, &spin) { word = spin_is_locked(&spin); } word && !spin_is_locked(&spin); })
({ scoped_guard(mutex, &sleeping) { word = !mutex_trylock(&sleeping); } word; })
time_after_eq(jiffies, jiffies) && time_is_after_jiffies(jiffies + 1)
ALIGN(5, 8) == 8 && ALIGN_DOWN(5, 4) == 4 && IS_ALIGNED(8, 4) && DIV_ROUND_UP(5, 2) == 3 && roundup(7, 3) == 9
PAGE_ALIGN(1UL) == PAGE_SIZE && PFN_UP(1UL) == 1 && PFN_DOWN(PAGE_SIZE) == 1 && PAGE_ALIGNED(PAGE_SIZE)
fls(8) == 4 && ffs(8) == 4 && __ffs(8) == 3 && __fls(9) == 3 && fls64(0) == 0 && ilog2(9) == 3 && hweight64(7) == 3
is_power_of_2(8) && !is_power_of_2(6) && roundup_pow_of_two(5) == 8 && rounddown_pow_of_two(5) == 4
FIELD_GET(GENMASK(7, 4), 0x5a) == 5 && FIELD_PREP(GENMASK(7, 4), 5) == 0x50
min3(3, 1, 2) == 1 && max3(3, 1, 2) == 3 && clamp_t(int, 9, 1, 3) == 3 && abs(-3) == 3
({ int a = 1, b = 2; swap(a, b); a == 2 && b == 1; }) && upper_32_bits(5ULL << 32) == 5 && U16_MAX == 65535
IS_ERR(ERR_PTR(-EBUSY)) && PTR_ERR(ERR_PTR(-EAGAIN)) == -11 && IS_ERR_OR_NULL(NULL) && !IS_ERR(&word)
({ char to[2] = { 1, 1 }; memset(to, 2, 1); typeof(to[0]) one = to[1]; one == 1 && to[0] == 2; })
""".strip().splitlines()


def checking(tree: Path, folder: Path, facts: list[str]) -> Path:
    """Make a copy of a tree whose first question about a CPU asserts facts."""
    checks = "".join(f"\tWARN_ON(!({fact}));\n" for fact in facts)
    return edited(
        tree,
        folder,
        (
            FLUSHING,
            r"(?m)^static bool should_flush_tlb",
            lambda found: (
                f"{PREPARED}static void check(void)\n{{\n\tstatic bool done;\n\tif (done)\n\t\treturn;\n"
                f"\tdone = true;\n{checks}}}\n{found[0]}"
            ),
        ),
        (
            FLUSHING,
            r"(static bool should_flush_tlb\(int cpu, void \*data\)\n\{)",
            lambda found: f"{found[1]}\n\tcheck();",
        ),
    )


def run(tree: Path) -> Outcome:
    """Return what becomes of a flush that asks the question."""
    return execute(SCENARIO, load_policy(f"c:{tree}").policy.make())


@LAST
def test_each_primitive(tree: Path, tmp_path: Path) -> None:
    """Every fact about the primitives holds on the simulated CPUs."""
    outcome = run(checking(tree, tmp_path, FACTS))

    assert outcome.violation is None or outcome.violation.where == ""
    assert outcome.verdict == "legal"


@LAST
def test_a_fact_that_does_not_hold(tree: Path, tmp_path: Path) -> None:
    """The facts are asked for: one that is wrong is an outcome, with its words."""
    outcome = run(checking(tree, tmp_path, ["num_online_cpus() == 3"]))

    assert outcome.violation is not None
    assert "num_online_cpus() == 3" in outcome.violation.where


SHARED = (
    "xchg(&word, 1);",
    "cmpxchg(&word, 1, 2);",
    "u64 old = 1; try_cmpxchg(&word, &old, 2);",
    "atomic_inc_return(&count);",
    "atomic64_fetch_add(1, &large);",
    "set_bit(1, bits);",
    "test_and_clear_bit(1, bits);",
    "if (spin_trylock(&spin)) { guarded++; spin_unlock(&spin); }",
)


@LAST
def test_atomic_changes_have_stops(tree: Path, tmp_path: Path) -> None:
    """Before each atomic change of shared data another CPU can come; a plain change of it is found."""
    known = {access[0] for access in held(f"c:{tree}").unstopped}
    stopped = held(f"c:{placed(tree, tmp_path / 'stopped', SHARED)}").unstopped
    plain = held(f"c:{placed(tree, tmp_path / 'plain', ('word++;',))}").unstopped

    assert {access[0] for access in stopped} == known
    assert {access[0] for access in plain} == known | {"should_flush_tlb"}


def placed(tree: Path, folder: Path, statements: tuple[str, ...]) -> Path:
    """Make a copy of a tree that executes statements for each question about a CPU."""
    blocks = " ".join(f"{{ {statement} }}" for statement in statements)
    return edited(
        tree,
        folder,
        (FLUSHING, r"(?m)^static bool should_flush_tlb", lambda found: PREPARED + found[0]),
        (
            FLUSHING,
            r"(struct flush_tlb_info \*info = data;)",
            lambda found: f"{found[1]} {blocks}",
        ),
    )


@LAST
def test_a_key_that_is_on(tree: Path, tmp_path: Path) -> None:
    """A static key is off here, so a text with one that is on is refused."""
    edit = (FLUSHING, r"\Z", "DEFINE_STATIC_KEY_TRUE(my_key);\n")

    with pytest.raises((PolicyError, KernelError), match="static key that is on"):
        load_policy(f"c:{edited(tree, tmp_path, edit)}")


@EVERY
def test_no_name_of_a_tree_is_taken(tree: Path) -> None:
    """The primitives do not collide with what the headers of a release define."""
    assert load_policy(f"c:{tree},debug-vm").policy.name
