/*
 * The calls into the text on the simulated CPUs, the block that holds all state, and its copies.
 *
 * Each CPU has a flow of control with a stack of its own. A flow stops before what another CPU could see, and goes on
 * when the simulation resumes it. The code never calls the simulation: what it wants of the machine is a list of notes.
 */
#define EXPORTED __attribute__((visibility("default")))
#define STATE __attribute__((section("arena")))
#define STACK_BYTES 16384
#define CLEARED_BYTES 2048 /* several times what the calls of today's texts use */
#define SPACES 16  /* mm_structs; a dead one is used again when no CPU has it loaded */
#define NUMBERS 4  /* address spaces that have a number: three of processes, and the temporary one */
#define TEMPORARY 3
#define TABLE_PAGES 8
#define NOTES 512

extern char __start_arena[], __stop_arena[];
extern const char __stop_percpu[] __attribute__((visibility("hidden")));

void *memcpy(void *to, const void *from, size_t count)
{
	void *start = to;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	return start;
}
void *memset(void *to, int byte, size_t count)
{
	void *start = to;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(byte) : "memory");
	return start;
}

#define CODE ((unsigned long)__builtin_return_address(0) - (unsigned long)__ehdr_start - 1)
extern const char __ehdr_start[];

struct flow {
	void *stack;           /* the stack pointer while it is stopped */
	int active;
	int cpu;               /* the CPU of the call */
	int on;                /* the CPU whose code runs: another one while it handles an interrupt */
	int locks;             /* the locks that it holds */
	int stop, argument;
	unsigned long code;    /* the place in the text where it has stopped */
	int function;
	long arguments[4];
};
STATE static struct flow flows[NR_CPUS] = { { 0 } };
STATE char kernel_percpu[NR_CPUS][PERCPU_BYTES] __attribute__((aligned(64))) = { { 0 } };
STATE static struct mm_struct spaces[SPACES] = { { { 0 } } };
STATE struct mm_struct init_mm = { { 0 } };
STATE static int space_of[NUMBERS] = { 0 };
STATE static int newest_space = 0;
STATE static unsigned long cr3[NR_CPUS] = { 0 };
STATE static unsigned long interrupts_off[NR_CPUS] = { 0 };
STATE static struct mm_struct *before_temporary[NR_CPUS] = { 0 };
STATE static struct mmu_gather gathers[NR_CPUS] = { { 0 } };
STATE static struct arch_tlbflush_unmap_batch batches[NR_CPUS] = { { { 0 } } };
STATE struct task_struct kernel_task = { 0 };
STATE unsigned long jiffies = 1;
STATE struct cpumask kernel_online = { 0 };
STATE static unsigned int pages_taken = 0;
STATE static int broadcasts = 0;
STATE unsigned long mmu_cr4_features = 0;
STATE u16 invlpgb_count_max = 1;
/* The used part of a page with a batch of tables; a gather of the model has no more. */
struct table_page { char bytes[512]; };
STATE static struct table_page table_pages[TABLE_PAGES] __attribute__((aligned(64))) = { { { 0 } } };
__attribute__((section("percpu"))) struct cpuinfo_x86 cpu_info = { 0 };
__attribute__((section("percpu"))) struct tlb_state cpu_tlbstate = { 0 };

/* What follows is no state of the kernel. */
#define OUTSIDE __attribute__((section("outside")))
/* Below each stack is a page that nobody may touch: a call that needs more than the stack ends the process. */
OUTSIDE static struct { char guard[4096], stack[STACK_BYTES]; } stacks[NR_CPUS] __attribute__((aligned(4096))) = { { { 0 } } };
OUTSIDE static struct page frames[64] = { { 0 } };
OUTSIDE static struct { unsigned long what, cpu, a, b; } notes[NOTES] = { { 0 } };
OUTSIDE static int noted = 0;
OUTSIDE static struct flow *running = NULL;
OUTSIDE static void *simulation = NULL;
OUTSIDE static unsigned long stops = 0;
OUTSIDE static int batch_extra = 0;
OUTSIDE static int watched = 0;
OUTSIDE int kernel_fresh = 0;
/* The block as the linker gives it. */
OUTSIDE static char fresh[16384] = { 0 };

#define tlbstate(cpu) ((struct tlb_state *)(kernel_percpu[cpu] + ((const char *)&cpu_tlbstate - __start_percpu)))
#define tlbstate_shared(cpu) \
	((struct tlb_state_shared *)(kernel_percpu[cpu] + ((const char *)&cpu_tlbstate_shared - __start_percpu)))

static struct mm_struct *space(long number)
{
	return number >= 0 ? &spaces[space_of[number]] : &init_mm;
}
/* The number of a space that a CPU has loaded, as mm/state.py counts: INIT_MM, SWITCHING, GONE_MM, POKING_MM. */
static long number_of(struct mm_struct *mm)
{
	if (mm == &init_mm)
		return -1;
	if (mm == LOADED_MM_SWITCHING)
		return -2;
	if (mm->number == TEMPORARY)
		return -4;
	return space(mm->number) == mm ? mm->number : -3;
}
/* The space whose top-level table is `root`, the living one if there are two; -1 for none. */
static long space_with(unsigned long root)
{
	long found = -1;
	for (int i = 0; i < SPACES; i++)
		if (spaces[i].context.ctx_id && (unsigned long)spaces[i].pgd == (root + 1) << 12 &&
		    (found < 0 || space(spaces[i].number) == &spaces[i]))
			found = spaces[i].number;
	return found;
}

int kernel_cpu(void)
{
	return running ? running->on : 0;
}
/* The CPU of the call that runs, and the CPU whose code runs; whether nothing can come in between; whether a lock is
   held, and interrupts are enabled. */
int kernel_context(int *on, int *atomic, int *locked, int *interrupts)
{
	if (!running)
		return -1;
	*on = running->on;
	*atomic = !running->active || running->on != running->cpu;
	*locked = running->locks > 0;
	*interrupts = !interrupts_off[running->on];
	return running->cpu;
}
/* A batch of tables is one gather's from its allocation to its end. */
int kernel_is_private(const void *address)
{
	return (char *)address >= (char *)table_pages && (char *)address < (char *)(table_pages + TABLE_PAGES);
}
void kernel_note(enum note what, unsigned long a, unsigned long b)
{
	if (what == NOTE_LOADED)
		a = number_of((struct mm_struct *)a);
	if (noted == NOTES - 1 && what != NOTE_WARNING) {
		/* The machine has not been told all. */
		kernel_warning("the text asks for more than one step can have", __FILE__, __LINE__, __func__);
	} else if (noted < NOTES) {
		notes[noted].what = what;
		notes[noted].cpu = kernel_cpu();
		notes[noted].a = a;
		notes[noted++].b = b;
	}
}
OUTSIDE static struct { const char *condition, *file, *function; int line; } warning = { 0 };
void kernel_warning(const char *condition, const char *file, int line, const char *function)
{
	if (!warning.condition) {
		warning.condition = condition;
		warning.file = file;
		warning.line = line;
		warning.function = function;
		kernel_note(NOTE_WARNING, 0, 0);
	}
}
void kernel_barrier(void)
{
	__asm__ volatile("" ::: "memory");
}

/* Save the callee's registers and the stack pointer, and go on with another stack. */
void kernel_switch(void **save, void *to);
__asm__(".text\n.hidden kernel_switch\n.globl kernel_switch\n.type kernel_switch,@function\nkernel_switch:\n"
	"\tpushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n"
	"\tmovq %rsp,(%rdi)\n\tmovq %rsi,%rsp\n"
	"\tpopq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\tret\n"
	".size kernel_switch,.-kernel_switch\n");

static void leave(enum stop stop, int argument)
{
	struct flow *flow = running;
	flow->stop = stop;
	flow->argument = argument;
	kernel_switch(&flow->stack, simulation);
	kernel_fresh = 1;
}
/* The parts of the text that have run, the last one first. */
OUTSIDE static unsigned long parts[3] = { 0 };
__attribute__((no_sanitize_coverage)) void __sanitizer_cov_trace_pc(void)
{
	parts[2] = parts[1];
	parts[1] = parts[0];
	parts[0] = CODE;
}
/* What a function of the text has decided about a CPU, if somebody watches: the last parts say where. */
static void decided(enum note what, int cpu, unsigned long generations)
{
	if (watched)
		kernel_note(what, cpu | generations << 8, parts[0] | parts[1] << 21 | parts[2] << 42);
}
/* The generation of a flush, and that of the CPU's context. */
static unsigned long generations(const struct flush_tlb_info *info, int cpu)
{
	struct tlb_state *state = tlbstate(cpu);
	u64 local = state->loaded_mm_asid < TLB_NR_DYN_ASIDS ? state->ctxs[state->loaded_mm_asid].tlb_gen : 0;
	return info ? (info->new_tlb_gen & 0xffff) | (local & 0xffff) << 16 | 1UL << 32 : 0;
}

static void stop_at(enum stop stop, int argument, unsigned long code)
{
	if (running)
		running->code = code;
	/* An interrupt's handler runs to its end: the CPU that it interrupts does nothing else meanwhile. */
	if (running && stops >> stop & 1 && running->on == running->cpu)
		leave(stop, argument);
	kernel_fresh = 1;
}
void kernel_stop(enum stop stop, int argument)
{
	stop_at(stop, argument, CODE);
}
void kernel_stop_shared(void)
{
	stop_at(STOP_SHARED, 0, CODE);
}
/* A CPU does not handle an interrupt before it has interrupts enabled. */
static void wait_for(int cpu)
{
	kernel_stop(STOP_ACK, cpu);
	while (interrupts_off[cpu])
		leave(STOP_ACK, cpu);
}
/* RCU waits for every other CPU that has interrupts disabled. */
static void wait_for_all(void)
{
	kernel_stop(STOP_GRACE, 0);
	for (int cpu = 0; cpu < NR_CPUS; cpu++)
		while (cpu != kernel_cpu() && interrupts_off[cpu])
			leave(STOP_GRACE, cpu);
}
void kernel_stop_own(void)
{
	if (!interrupts_off[kernel_cpu()])
		stop_at(STOP_LOADED, 0, CODE);
}

unsigned long kernel_interrupts(unsigned long disabled)
{
	int cpu = kernel_cpu();
	unsigned long before = interrupts_off[cpu];
	if (before != disabled) {
		interrupts_off[cpu] = disabled;
		kernel_note(NOTE_INTERRUPTS, disabled, 0);
	}
	return before;
}
bool kernel_interrupts_disabled(void)
{
	return interrupts_off[kernel_cpu()];
}
void kernel_spin(void);
void kernel_lock(spinlock_t *lock)
{
	while (lock->held)
		kernel_spin();
	lock->held = 1;
	if (running)
		running->locks++;
}
void kernel_unlock(spinlock_t *lock)
{
	lock->held = 0;
	if (running)
		running->locks--;
}
struct kernel_guard kernel_guard_preempt(void)
{
	return (struct kernel_guard){ 2, NULL };
}
struct kernel_guard kernel_guard_rcu(void)
{
	return (struct kernel_guard){ 2, NULL };
}
struct kernel_guard kernel_guard_irqsave(void)
{
	return (struct kernel_guard){ kernel_interrupts(1), NULL };
}
struct kernel_guard kernel_guard_irq(void)
{
	kernel_interrupts(1);
	return (struct kernel_guard){ 0, NULL };
}
struct kernel_guard kernel_guard_raw_spinlock(spinlock_t *lock)
{
	kernel_lock(lock);
	return (struct kernel_guard){ 2, lock };
}
struct kernel_guard kernel_guard_raw_spinlock_irqsave(spinlock_t *lock)
{
	unsigned long flags = kernel_interrupts(1);
	kernel_lock(lock);
	return (struct kernel_guard){ flags, lock };
}
void kernel_guard_end(struct kernel_guard *guard)
{
	if (guard->lock)
		kernel_unlock(guard->lock);
	if (guard->flags != 2)
		kernel_interrupts(guard->flags);
}

/* A spinning CPU lets others run; what it waits for may need them. */
void kernel_spin(void)
{
	if (running)
		leave(STOP_SPIN, 0);
}
void kernel_flushes(const atomic64_t *generation)
{
	struct mm_struct *mm = container_of(generation, struct mm_struct, context.tlb_gen);
	if (running && running->active)
		kernel_note(NOTE_FLUSH, mm->number, generation->counter + 1);
}

bool kernel_has(enum kernel_feature feature)
{
	switch (feature) {
	case X86_FEATURE_PTI:
	case X86_FEATURE_LAM:
	case X86_BUG_TLBI:
		return false;
	case X86_FEATURE_INVLPGB:
		return broadcasts;
	default:
		return true;
	}
}
unsigned long cr4_read_shadow(void)
{
	return ~0UL;
}
void cr4_update_irqsoff(unsigned long set, unsigned long clear)
{
}
unsigned long kernel_read_cr3(void)
{
	return cr3[kernel_cpu()];
}
void kernel_write_cr3(unsigned long value, unsigned long flushes)
{
	stop_at(STOP_CR3, 0, CODE);
	cr3[kernel_cpu()] = value & ~(1UL << 63);
	kernel_note(NOTE_CR3, value, flushes | (space_with((value >> 12 & 0xffff) - 1) + 1) << 1);
}
void kernel_invalidate(enum note what, unsigned long a, unsigned long b)
{
	stop_at(STOP_INVALIDATE, what, CODE);
	kernel_note(what, a, b);
}

/*
 * Interrupts: the sender decides about each CPU, handles its own first, and then waits for the others in the order of
 * their distance from it. A CPU handles an interrupt when it has interrupts enabled, and runs the handler to its end.
 */
void on_each_cpu_cond_mask(smp_cond_func_t condition, smp_call_func_t function, void *info, bool wait,
			   const struct cpumask *mask)
{
	struct flow *flow = running;
	int self = kernel_cpu();
	unsigned long targets = 0, set;
	kernel_stop(STOP_MASK, 0);
	set = mask->bits & kernel_online.bits;
	for (int distance = 1; distance < NR_CPUS; distance++) {
		int cpu = (self + distance) % NR_CPUS;
		if (!(set >> cpu & 1))
			continue;
		if (condition && !condition(cpu, info)) {
			decided(NOTE_LEFT_OUT, cpu, 0);
			continue;
		}
		targets |= 1UL << cpu;
		kernel_note(NOTE_IPI, cpu, 0);
	}
	if (set >> self & 1 && (!condition || condition(self, info))) {
		kernel_stop(STOP_ACK, self);
		unsigned long flags = kernel_interrupts(1);
		function(info);
		kernel_interrupts(flags);
	}
	for (int distance = 1; distance < NR_CPUS; distance++) {
		int cpu = (self + distance) % NR_CPUS;
		if (!(targets >> cpu & 1) || !flow)
			continue;
		wait_for(cpu);
		flow->on = cpu;
		interrupts_off[cpu] = 1;
		int before = noted;
		function(info);
		if (noted == before)
			decided(NOTE_UNCHANGED, cpu, generations(info, cpu));
		interrupts_off[cpu] = 0;
		flow->on = self;
	}
}
void smp_call_function(smp_call_func_t function, void *info, int wait)
{
	struct cpumask others = { kernel_online.bits & ~(1UL << kernel_cpu()) };
	on_each_cpu_cond_mask(NULL, function, info, wait, &others);
}
void call_rcu(struct rcu_head *head, void (*function)(struct rcu_head *))
{
	wait_for_all();
	function(head);
}
void synchronize_rcu(void)
{
	wait_for_all();
}

void *kernel_page(void)
{
	for (int i = 0; i < TABLE_PAGES; i++)
		if (!(pages_taken >> i & 1)) {
			pages_taken |= 1u << i;
			return &table_pages[i];
		}
	return NULL;
}
/* What was in a page that is free is no state. */
void kernel_put_page(void *page)
{
	memset(page, 0, sizeof(struct table_page));
	pages_taken &= ~(1u << ((struct table_page *)page - table_pages));
}
void kernel_free_table(void *table)
{
	kernel_stop(STOP_FREE, 0);
	kernel_note(NOTE_FREE_TABLE, ((struct page *)table)->frame, 0);
}
void kernel_free_pages(void **pages, int count)
{
	kernel_stop(STOP_FREE, 0);
	for (int i = 0; i < count; i++) {
		unsigned long page = (unsigned long)pages[i];
		kernel_note(NOTE_FREE_PAGE, ((struct page *)(page & ~3UL))->frame, 0);
	}
}

static void enter_temporary(int cpu)
{
	struct mm_struct *temporary = space(TEMPORARY);
#ifdef HAS_USE_TEMPORARY_MM
	before_temporary[cpu] = use_temporary_mm(temporary);
#else
	/* As arch/x86/kernel/alternative.c does, which is not among the files here. */
	if (tlbstate_shared(cpu)->is_lazy)
#if LEAVE_MM_ARGUMENTS
		leave_mm(cpu);
#else
		leave_mm();
#endif
	before_temporary[cpu] = tlbstate(cpu)->loaded_mm;
	switch_mm_irqs_off(NULL, temporary, current);
#endif
}
static void leave_temporary(int cpu)
{
#ifdef HAS_USE_TEMPORARY_MM
	unuse_temporary_mm(before_temporary[cpu]);
#else
	switch_mm_irqs_off(NULL, before_temporary[cpu], current);
#endif
	before_temporary[cpu] = NULL;
	/* Its entry is cleared and flushed before it is used again. */
	space(TEMPORARY)->context.tlb_gen.counter++;
}

enum function {
	CALL_FLUSH_RANGE, CALL_SWITCH, CALL_BATCH_FLUSH, CALL_FINISH, CALL_FLUSH_GATHER, CALL_FLUSH_TLBONLY,
	CALL_TEMPORARY, CALL_BACK,
	NOW_LAZY, NOW_BATCH_ADD, NOW_GATHER, NOW_RECORD, NOW_RECORD_TABLE, NOW_PAGE, NOW_TABLE,
};
static void flow_main(void)
{
	struct flow *flow = running;
	int cpu = flow->cpu;
	long *a = flow->arguments;
	struct mm_struct *mm = space(a[0]);
	switch (flow->function) {
	case CALL_FLUSH_RANGE:
		flush_tlb_mm_range(mm, a[1], a[2], PAGE_SHIFT, a[3]);
		break;
	case CALL_SWITCH:
		mm->pgd = (pgd_t *)((a[1] + 1) << 12);
		kernel_interrupts(1);
		switch_mm_irqs_off(NULL, mm, &kernel_task);
		kernel_interrupts(0);
		break;
	case CALL_BATCH_FLUSH:
		arch_tlbbatch_flush(&batches[cpu]);
		break;
	case CALL_FINISH:
		tlb_finish_mmu(&gathers[cpu]);
		/* It was a variable of the caller. */
		memset(&gathers[cpu], 0, sizeof(gathers[cpu]));
		break;
	case CALL_FLUSH_GATHER:
		tlb_flush_mmu(&gathers[cpu]);
		break;
	case CALL_FLUSH_TLBONLY:
		tlb_flush_mmu_tlbonly(&gathers[cpu]);
		break;
	case CALL_TEMPORARY:
		kernel_interrupts(1);
		enter_temporary(cpu);
		break;
	case CALL_BACK:
		leave_temporary(cpu);
		kernel_interrupts(0);
		break;
	}
	*flow = (struct flow){ 0 };
	leave(STOP_DONE, 0);
	__builtin_unreachable();
}
static long result(struct flow *flow)
{
	return flow->stop | (long)flow->argument << 8 | (long)noted << 16;
}
/*
 * Go on with the CPU's call until the next of the stops; return the stop, its argument and the number of notes.
 *
 * What other calls and other worlds have left on the unused part of the stack is cleared: functions leave gaps in their
 * frames, and equal states must have equal stacks (kernel_words).
 */
EXPORTED long kernel_resume(int cpu, unsigned long which)
{
	struct flow *flow = &flows[cpu];
	char *top = flow->stack;
	size_t room = top - stacks[cpu].stack;
	size_t cleared = room < CLEARED_BYTES ? room : CLEARED_BYTES;
	memset(top - cleared, 0, cleared);
	noted = 0;
	running = flow;
	stops = which;
	watched = which >> 63;
	kernel_switch(&simulation, top);
	running = NULL;
	if (!flow->active)
		flow->stack = NULL;
	return result(flow);
}
/* Begin a call on a CPU, and run it as kernel_resume does. */
EXPORTED long kernel_call(int cpu, unsigned long which, int function, long a, long b, long c, long d)
{
	struct flow *flow = &flows[cpu];
	void **top = (void **)(stacks[cpu].stack + STACK_BYTES - 64);
	*flow = (struct flow){ .active = 1, .cpu = cpu, .on = cpu, .function = function, .arguments = { a, b, c, d } };
	*--top = 0;
	*--top = (void *)flow_main;
	for (int i = 0; i < 6; i++) /* the registers that kernel_switch takes from here */
		*--top = 0;
	flow->stack = top;
	kernel_fresh = 0;
	return kernel_resume(cpu, which);
}
EXPORTED unsigned long kernel_stopped_at(int cpu)
{
	return flows[cpu].code;
}
/* A call that does not stop, in the middle of a step of the memory manager. */
EXPORTED long kernel_now(int cpu, int function, long a, long b, long c)
{
	struct flow flow = { .cpu = cpu, .on = cpu };
	struct mmu_gather *gather = &gathers[cpu];
	long answer = 0;
	noted = 0;
	running = &flow;
	stops = 0;
	switch (function) {
	case NOW_LAZY:
		enter_lazy_tlb(space(a), NULL);
		break;
	case NOW_BATCH_ADD:
#if BATCH_ADD_ARGUMENTS == 4
		arch_tlbbatch_add_pending(&batches[cpu], space(a), b, b + PAGE_SIZE);
#elif BATCH_ADD_ARGUMENTS == 3
		arch_tlbbatch_add_pending(&batches[cpu], space(a), b);
#else
		arch_tlbbatch_add_mm(&batches[cpu], space(a));
#endif
		break;
	case NOW_GATHER:
		tlb_gather_mmu(gather, space(a));
		gather->local.max = b + batch_extra;
		gather->batch_count = MAX_GATHER_BATCH_COUNT;
		break;
	case NOW_RECORD:
		tlb_flush_pte_range(gather, a, b);
		break;
	case NOW_RECORD_TABLE:
		tlb_flush_pmd_range(gather, a, b);
		gather->freed_tables = 1;
		break;
	case NOW_PAGE:
		if (!gather->end) /* a page whose entry was no translation */
			tlb_flush_pte_range(gather, b, PAGE_SIZE);
#if REMOVE_PAGE_ARGUMENTS == 4
		answer = __tlb_remove_page_size(gather, &frames[a], false, PAGE_SIZE);
#else
		answer = __tlb_remove_page_size(gather, &frames[a], PAGE_SIZE);
#endif
		break;
	case NOW_TABLE:
		tlb_remove_table(gather, &frames[a]);
		break;
	}
	running = NULL;
	return answer | (long)noted << 16;
}

/* A new address space of this number; an mm_struct that a CPU still has loaded stays as it is. */
EXPORTED int kernel_new_space(int number)
{
	for (int step = 1; step <= SPACES; step++) {
		int i = (newest_space + step) % SPACES;
		bool used = false;
		for (int n = 0; n < NUMBERS; n++)
			used |= space_of[n] == i && n != number;
		for (int cpu = 0; cpu < NR_CPUS; cpu++)
			used |= tlbstate(cpu)->loaded_mm == &spaces[i] || before_temporary[cpu] == &spaces[i];
		if (used || space_of[number] == i)
			continue;
#ifdef CONFIG_BROADCAST_TLB_FLUSH_IN_TREE
		if (space_of[number] >= 0)
			mm_free_global_asid(space(number));
#endif
		extern atomic64_t last_mm_ctx_id;
		memset(&spaces[i], 0, sizeof(spaces[i]));
		spaces[i].context.ctx_id = ++last_mm_ctx_id.counter;
		spaces[i].context.tlb_gen.counter = 0;
		spaces[i].context.next_trim_cpumask = jiffies + HZ;
		spaces[i].number = number;
		space_of[number] = i;
		newest_space = i;
		return i;
	}
	return -1;
}
EXPORTED void kernel_set_table(int number, unsigned long root)
{
	space(number)->pgd = (pgd_t *)((root + 1) << 12);
}
EXPORTED void kernel_set_interrupts(int cpu, int disabled)
{
	interrupts_off[cpu] = disabled;
}
EXPORTED void kernel_tick(void)
{
	jiffies += HZ + 1;
	kernel_task.pid = jiffies & 0x1f;
}
EXPORTED int kernel_pending(int number)
{
	return space(number)->tlb_flush_pending.counter;
}
EXPORTED int kernel_batched(int cpu)
{
#ifdef HAS_UNMAPPED_PAGES
	return batches[cpu].cpumask.bits != 0 || (broadcasts && batches[cpu].unmapped_pages);
#else
	return batches[cpu].cpumask.bits != 0;
#endif
}
EXPORTED int kernel_asid(int cpu)
{
	return tlbstate(cpu)->loaded_mm_asid;
}
EXPORTED const void *kernel_notes(void)
{
	return notes;
}
EXPORTED const char *kernel_warned(int what)
{
	return what == 0 ? warning.condition : what == 1 ? warning.file : warning.function;
}
EXPORTED int kernel_warned_line(void)
{
	int line = warning.line;
	warning.condition = NULL;
	return line;
}

static void guard_stacks(void)
{
	for (int cpu = 0; cpu < NR_CPUS; cpu++) {
		long result = 10; /* mprotect(guard, its bytes, PROT_NONE) */
		__asm__ volatile("syscall" : "+a"(result)
				 : "D"(stacks[cpu].guard), "S"(sizeof(stacks[cpu].guard)), "d"(0)
				 : "rcx", "r11", "memory");
	}
}
static int probe_batch(void)
{
	struct mmu_gather *gather = &gathers[0];
	struct flow flow = { 0 };
	int count = 0;
	running = &flow;
	stops = 0;
	tlb_gather_mmu(gather, &init_mm);
	gather->local.max = 6;
	gather->batch_count = MAX_GATHER_BATCH_COUNT;
	tlb_flush_pte_range(gather, 0, PAGE_SIZE);
	running = NULL;
	while (count < 6) {
		long full = kernel_now(0, NOW_PAGE, 1, 0, 0);
		count++;
		if (full & 1)
			break;
	}
	init_mm.tlb_flush_pending.counter = 0;
	noted = 0;
	return 6 - count;
}
/* Boot: nothing is loaded, and three address spaces exist. Return 0, or what is wrong. */
EXPORTED int kernel_boot(int cpus, int with_broadcasts, unsigned long ceiling)
{
	extern atomic64_t last_mm_ctx_id;
	extern unsigned long tlb_single_page_flush_ceiling;
	OUTSIDE static int booted = 0;
	size_t bytes = __stop_arena - __start_arena;
	if (__stop_percpu - __start_percpu > PERCPU_BYTES)
		return 1;
	if (bytes > sizeof(fresh))
		return 2;
	/* The text's own variables have their first values from the linker. */
	if (!booted) {
		memcpy(fresh, __start_arena, bytes);
		for (int i = 0; i < 64; i++)
			frames[i].frame = i;
		guard_stacks();
	}
	memcpy(__start_arena, fresh, bytes);
	noted = 0;
	running = NULL;
	warning.condition = NULL;
	for (int cpu = 0; cpu < NR_CPUS; cpu++)
		memcpy(kernel_percpu[cpu], __start_percpu, __stop_percpu - __start_percpu);
	init_mm.context.ctx_id = 1;
	init_mm.number = -1;
	init_mm.pgd = (pgd_t *)(0x3ffUL << 12);
	if (!booted) {
		batch_extra = probe_batch();
		booted = 1;
		return kernel_boot(cpus, with_broadcasts, ceiling);
	}
	broadcasts = with_broadcasts;
	tlb_single_page_flush_ceiling = ceiling;
	kernel_online.bits = (1UL << cpus) - 1;
	kernel_task.pid = jiffies & 0x1f;
	kernel_task.mm = &init_mm;
	for (int n = 0; n < NUMBERS; n++)
		space_of[n] = -1;
	for (int cpu = 0; cpu < NR_CPUS; cpu++) {
		struct tlb_state *state = tlbstate(cpu);
		state->loaded_mm = &init_mm;
		state->next_asid = 1 % TLB_NR_DYN_ASIDS;
		state->cr4 = ~0UL;
		state->ctxs[0].ctx_id = init_mm.context.ctx_id;
		cr3[cpu] = (unsigned long)init_mm.pgd | 1;
	}
	for (int n = 0; n < NUMBERS; n++)
		kernel_new_space(n);
	return 0;
}

/* Copies: the block, and the used part of the stacks of the calls that are not over. */
static char *used_stack(int cpu, size_t *bytes)
{
	char *from = flows[cpu].stack;
	*bytes = flows[cpu].active ? stacks[cpu].stack + STACK_BYTES - from : 0;
	return from;
}
EXPORTED size_t kernel_save(char *to)
{
	size_t all = __stop_arena - __start_arena, bytes;
	memcpy(to, __start_arena, all);
	for (int cpu = 0; cpu < NR_CPUS; cpu++) {
		char *from = used_stack(cpu, &bytes);
		memcpy(to + all, from, bytes);
		all += bytes;
	}
	return all;
}
EXPORTED void kernel_load(const char *from)
{
	size_t all = __stop_arena - __start_arena, bytes;
	memcpy(__start_arena, from, all);
	for (int cpu = 0; cpu < NR_CPUS; cpu++) {
		char *to = used_stack(cpu, &bytes);
		memcpy(to, from + all, bytes);
		all += bytes;
	}
}
/*
 * All that the future of the text depends on, as words, for the key of a world in a proof: two states give the same
 * words only if they are equal. Addresses in the library, which are other ones in each process, are written relative to
 * it. A number of two or four bytes may be in a place that had an address before, of which the rest is left; so the
 * library is aligned to 64 KiB (kernel/machinery.py), and what is left of an address is written in the same way.
 *
 * `out`: for each word of the block that is not as the linker gives it its place and its kind, and its content; then
 * for each call that is not over the used part of its stack, in the same way, after the number of its words.
 */
extern const char __ehdr_start[], _end[] __attribute__((visibility("hidden")));
enum kind { NUMBER, ADDRESS, BELOW_HALF_AN_ADDRESS };
static unsigned long *put_word(unsigned long *out, unsigned long place, unsigned long content)
{
	unsigned long first = (unsigned long)__ehdr_start;
	enum kind kind = NUMBER;
	if (content - first < (_end - __ehdr_start + 0xffffUL & ~0xffffUL)) {
		kind = ADDRESS;
		content -= first;
	} else if (content >> 32 == first >> 32) {
		kind = BELOW_HALF_AN_ADDRESS;
		content &= 0xffffffff;
	}
	*out++ = place << 2 | kind;
	*out++ = content;
	return out;
}
EXPORTED size_t kernel_words(unsigned long *out)
{
	const unsigned long *from = (const unsigned long *)__start_arena, *base = (const unsigned long *)fresh;
	size_t all = __stop_arena - __start_arena, count = all / sizeof(*from), bytes;
	unsigned long *at = out, rest = 0;
	for (size_t i = 0; i < count; i++)
		if (from[i] != base[i])
			at = put_word(at, i, from[i]);
	memcpy(&rest, from + count, all % sizeof(*from));
	at = put_word(at, count, rest);
	for (int cpu = 0; cpu < NR_CPUS; cpu++) {
		from = (const unsigned long *)used_stack(cpu, &bytes);
		count = bytes / sizeof(*from);
		*at++ = count;
		for (size_t i = 0; i < count; i++)
			at = put_word(at, i, from[i]);
	}
	return at - out;
}
EXPORTED size_t kernel_largest(void)
{
	return __stop_arena - __start_arena + sizeof(stacks);
}

static long slot_owner(int cpu, int slot)
{
	u64 id = tlbstate(cpu)->ctxs[slot].ctx_id;
	for (int n = 0; n < NUMBERS - 1; n++)
		if (id && space(n)->context.ctx_id == id)
			return n;
	return -1;
}
static bool has_global_asid(struct mm_struct *mm)
{
#ifdef CONFIG_BROADCAST_TLB_FLUSH_IN_TREE
	return mm->context.global_asid;
#else
	return false;
#endif
}
/* The number of the space whose translations a CPU uses under an ASID, -1 for none (Feedback.tag_owner). */
EXPORTED int kernel_owner(int cpu, int asid)
{
	if (asid >= TLB_NR_DYN_ASIDS) {
#ifdef CONFIG_BROADCAST_TLB_FLUSH_IN_TREE
		for (int n = 0; n < NUMBERS - 1; n++)
			if (space(n)->context.global_asid == asid)
				return n;
#endif
		return -1;
	}
	int owner = slot_owner(cpu, asid);
	return owner >= 0 && has_global_asid(space(owner)) && asid != tlbstate(cpu)->loaded_mm_asid ? -1 : owner;
}
/* How many flushes of a space the most outdated TLB lacks (Feedback.behind), the second number times four; -1 if the
   space has a global ASID. */
EXPORTED int kernel_behind(int number, int cpus)
{
	struct mm_struct *mm = space(number);
	int flying = 0, owed = 0;
	if (has_global_asid(mm))
		return -1;
	for (int cpu = 0; cpu < cpus; cpu++)
		for (int slot = 0; slot < TLB_NR_DYN_ASIDS; slot++) {
			struct tlb_context *context = &tlbstate(cpu)->ctxs[slot];
			if (context->ctx_id != mm->context.ctx_id)
				continue;
			int missed = mm->context.tlb_gen.counter - context->tlb_gen;
			if (tlbstate(cpu)->loaded_mm == mm && !tlbstate_shared(cpu)->is_lazy)
				flying = missed > flying ? missed : flying;
			else
				owed = missed > owed ? missed : owed;
		}
	return (flying < 3 ? flying : 3) | (owed < 15 ? owed : 15) << 2;
}
/* Whether the CPU's open gather has recorded anything: 2, or 1. */
EXPORTED int kernel_recorded(int cpu)
{
	return gathers[cpu].end ? 2 : 1;
}
/* Bring every slot that waits for a later switch up to date: nothing that is out of date may be used after that. */
EXPORTED int kernel_quiesce(int cpus)
{
	noted = 0;
	running = NULL;
	for (int cpu = 0; cpu < cpus; cpu++)
		for (int slot = 0; slot < TLB_NR_DYN_ASIDS; slot++) {
			struct tlb_state *state = tlbstate(cpu);
			long owner = slot_owner(cpu, slot);
			bool in_use = owner >= 0 && slot == state->loaded_mm_asid &&
				       state->loaded_mm == space(owner) && !tlbstate_shared(cpu)->is_lazy;
			if (owner < 0 || in_use || state->ctxs[slot].tlb_gen >= space(owner)->context.tlb_gen.counter)
				continue;
			kernel_note(NOTE_INVPCID_ONE, slot + 1, ~0UL);
			notes[noted - 1].cpu = cpu;
			state->ctxs[slot].tlb_gen = space(owner)->context.tlb_gen.counter;
		}
	return noted;
}
