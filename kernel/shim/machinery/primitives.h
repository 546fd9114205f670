/*
 * The primitives with which the text touches what another CPU can see. Each first calls kernel_stop(), where the
 * simulation may let another CPU run; an access to the own CPU's data with interrupts disabled needs no stop.
 */
enum stop {
	STOP_DONE,       /* the call has returned */
	STOP_GENERATION, /* a generation is read */
	STOP_FLUSH,      /* a generation is raised */
	STOP_MASK,       /* a CPU mask is read or changed */
	STOP_REMOTE,     /* another CPU's data is read */
	STOP_LOADED,     /* loaded_mm or is_lazy is written, or read with interrupts enabled */
	STOP_CR3,        /* CR3 is written */
	STOP_ACK,        /* a CPU handles an interrupt; the argument is the CPU */
	STOP_INVALIDATE, /* the TLB is invalidated */
	STOP_PENDING,    /* tlb_flush_pending is read or changed */
	STOP_FREE,       /* a page is freed */
	STOP_SHARED,     /* other data of an address space is read or written */
	STOP_GRACE,      /* a grace period ends */
	STOP_SPIN,       /* the CPU waits for another one (cpu_relax) */
};
void kernel_stop(enum stop stop, int argument);
void kernel_stop_shared(void);
int kernel_cpu(void);

enum note {
	NOTE_CR3 = 1, NOTE_INVLPG, NOTE_INVPCID_ONE, NOTE_INVPCID_ALL, NOTE_INVLPGB, NOTE_TLBSYNC, NOTE_IPI,
	NOTE_LOADED, NOTE_LAZY, NOTE_INTERRUPTS, NOTE_FREE_PAGE, NOTE_FREE_TABLE, NOTE_WARNING, NOTE_INSTRUCTION,
	NOTE_FLUSH, NOTE_LEFT_OUT, NOTE_UNCHANGED,
};
/* What the code asks the machine for; carried out when the code stops next (kernel/notes.py). */
void kernel_note(enum note what, unsigned long a, unsigned long b);

/* Per-CPU data: a template in a section of its own, and a copy for each CPU. */
#define NR_CPUS 8
#define nr_cpu_ids ((unsigned int)NR_CPUS)
#define PERCPU_BYTES 512
extern const char __start_percpu[] __attribute__((visibility("hidden")));
extern char kernel_percpu[NR_CPUS][PERCPU_BYTES];
#define DECLARE_PER_CPU(type, name) extern type name
#define DECLARE_PER_CPU_ALIGNED(type, name) extern type name
#define DECLARE_PER_CPU_SHARED_ALIGNED(type, name) extern type name
#define DECLARE_PER_CPU_READ_MOSTLY(type, name) extern type name
#define DECLARE_PER_CPU_CACHE_HOT(type, name) extern type name
#define DEFINE_PER_CPU(type, name) __attribute__((section("percpu"))) type name
#define DEFINE_PER_CPU_ALIGNED(type, name) DEFINE_PER_CPU(type, name)
#define DEFINE_PER_CPU_SHARED_ALIGNED(type, name) DEFINE_PER_CPU(type, name)
#define DEFINE_PER_CPU_READ_MOSTLY(type, name) DEFINE_PER_CPU(type, name)
#define DEFINE_PER_CPU_CACHE_HOT(type, name) DEFINE_PER_CPU(type, name)
#define __kernel_of(pointer, cpu) ((__typeof__(pointer))(kernel_percpu[cpu] + ((char *)(pointer) - __start_percpu)))
#define per_cpu_ptr(pointer, cpu) ({ int _of = (cpu); kernel_stop(STOP_REMOTE, _of); __kernel_of(pointer, _of); })
#define per_cpu(variable, cpu) (*per_cpu_ptr(&(variable), cpu))
#define this_cpu_ptr(pointer) __kernel_of(pointer, kernel_cpu())
#define raw_cpu_ptr(pointer) this_cpu_ptr(pointer)
/* The fields that other CPUs read, by their names: the compiler decides. */
static __always_inline bool kernel_is_shared(const char *name)
{
	return !__builtin_strcmp(name, "cpu_tlbstate.loaded_mm") ||
	       !__builtin_strcmp(name, "cpu_tlbstate.loaded_mm_asid") ||
	       !__builtin_strcmp(name, "cpu_tlbstate_shared.is_lazy");
}
#define this_cpu_read(variable) \
	(*({ if (kernel_is_shared(#variable)) kernel_stop_own(); this_cpu_ptr(&(variable)); }))
void kernel_stop_own(void);
#define __this_cpu_read(variable) this_cpu_read(variable)
#define raw_cpu_read(variable) this_cpu_read(variable)
static __always_inline void kernel_written(const char *name, unsigned long value)
{
	if (!__builtin_strcmp(name, "cpu_tlbstate.loaded_mm"))
		kernel_note(NOTE_LOADED, value, 0);
	if (!__builtin_strcmp(name, "cpu_tlbstate_shared.is_lazy"))
		kernel_note(NOTE_LAZY, value, 0);
}
#define this_cpu_write(variable, value) do { \
	__typeof__(variable) _value = (value); \
	if (kernel_is_shared(#variable)) { \
		kernel_stop(STOP_LOADED, 0); \
		*this_cpu_ptr(&(variable)) = _value; \
		kernel_written(#variable, (unsigned long)_value); \
	} else \
		*this_cpu_ptr(&(variable)) = _value; \
} while (0)
#define __this_cpu_write(variable, value) this_cpu_write(variable, value)
#define raw_cpu_write(variable, value) this_cpu_write(variable, value)
#define this_cpu_add_return(variable, count) (*this_cpu_ptr(&(variable)) += (count))
#define this_cpu_inc_return(variable) this_cpu_add_return(variable, 1)
#define this_cpu_dec_return(variable) this_cpu_add_return(variable, -1)
#define this_cpu_add(variable, count) ((void)this_cpu_add_return(variable, count))
#define this_cpu_inc(variable) this_cpu_add(variable, 1)
#define this_cpu_dec(variable) this_cpu_add(variable, -1)
/* One instruction reads and writes: no interrupt comes in between. */
#define __kernel_own_change(variable, after) ({ \
	if (kernel_is_shared(#variable)) \
		kernel_stop(STOP_LOADED, 0); \
	__typeof__(variable) _was = *this_cpu_ptr(&(variable)), _to = (after); \
	*this_cpu_ptr(&(variable)) = _to; \
	if (kernel_is_shared(#variable)) \
		kernel_written(#variable, (unsigned long)_to); \
	_was; })
#define this_cpu_xchg(variable, value) ({ __typeof__(variable) _value = (value); __kernel_own_change(variable, _value); })
#define this_cpu_cmpxchg(variable, old, new) \
	({ __typeof__(variable) _old = (old), _new = (new); __kernel_own_change(variable, _was == _old ? _new : _was); })
#define this_cpu_try_cmpxchg(variable, expected, new) \
	({ __typeof__(variable) *_expected = (void *)(expected), _hoped = *_expected; \
	   (*_expected = this_cpu_cmpxchg(variable, _hoped, new)) == _hoped; })
#define this_cpu_sub_return(variable, count) this_cpu_add_return(variable, -(__typeof__(variable))(count))
#define this_cpu_sub(variable, count) ((void)this_cpu_sub_return(variable, count))
#define this_cpu_or(variable, bits) ((void)(*this_cpu_ptr(&(variable)) |= (bits)))
#define this_cpu_and(variable, bits) ((void)(*this_cpu_ptr(&(variable)) &= (bits)))
#define __this_cpu_add(variable, count) this_cpu_add(variable, count)
#define __this_cpu_sub(variable, count) this_cpu_sub(variable, count)
#define __this_cpu_inc(variable) this_cpu_inc(variable)
#define __this_cpu_dec(variable) this_cpu_dec(variable)
#define __this_cpu_add_return(variable, count) this_cpu_add_return(variable, count)
#define __this_cpu_inc_return(variable) this_cpu_inc_return(variable)
#define __this_cpu_xchg(variable, value) this_cpu_xchg(variable, value)
#define __this_cpu_or(variable, bits) this_cpu_or(variable, bits)
#define __this_cpu_and(variable, bits) this_cpu_and(variable, bits)
#define raw_cpu_add(variable, count) this_cpu_add(variable, count)
#define raw_cpu_inc(variable) this_cpu_inc(variable)
#define raw_cpu_dec(variable) this_cpu_dec(variable)
#define get_cpu_var(variable) (*this_cpu_ptr(&(variable)))
#define put_cpu_var(variable) ((void)0)
#define get_cpu_ptr(pointer) this_cpu_ptr(pointer)
#define put_cpu_ptr(pointer) ((void)0)
#define smp_processor_id() kernel_cpu()
#define raw_smp_processor_id() kernel_cpu()
#define get_cpu() kernel_cpu()
#define put_cpu() ((void)0)
#define preempt_disable() ((void)0)
#define preempt_enable() ((void)0)
#define preempt_enable_no_resched() ((void)0)
#define preempt_disable_notrace() ((void)0)
#define preempt_enable_notrace() ((void)0)
#define migrate_disable() ((void)0)
#define migrate_enable() ((void)0)
#define preemptible() 0
#define in_nmi() 0

/* Interrupts: while a CPU has them disabled, no CPU's interrupt is handled on it. */
unsigned long kernel_interrupts(unsigned long disabled);
bool kernel_interrupts_disabled(void);
#define local_irq_disable() ((void)kernel_interrupts(1))
#define local_irq_enable() ((void)kernel_interrupts(0))
#define local_irq_save(flags) ((void)((flags) = kernel_interrupts(1)))
#define local_irq_restore(flags) ((void)kernel_interrupts(flags))
#define raw_local_irq_save(flags) local_irq_save(flags)
#define raw_local_irq_restore(flags) local_irq_restore(flags)
#define raw_local_irq_disable() local_irq_disable()
#define raw_local_irq_enable() local_irq_enable()
#define local_save_flags(flags) ((void)((flags) = kernel_interrupts_disabled()))
#define irqs_disabled() kernel_interrupts_disabled()
#define irqs_disabled_flags(flags) ((flags) != 0)

/* Plain data that the text marks as shared. */
#define READ_ONCE(x) (*({ kernel_stop_shared(); (const volatile __typeof__(x) *)&(x); }))
#define WRITE_ONCE(x, value) do { \
	__typeof__(x) _new = (value); \
	kernel_stop_shared(); \
	*(volatile __typeof__(x) *)&(x) = _new; \
} while (0)
#define smp_load_acquire(pointer) READ_ONCE(*(pointer))
#define smp_store_release(pointer, value) WRITE_ONCE(*(pointer), value)
#define smp_store_mb(x, value) do { WRITE_ONCE(x, value); kernel_barrier(); } while (0)
#define data_race(x) (x)
/* Atomic accesses to shared data of any type: one stop before them, none between their read and their write. */
#define xchg(pointer, value) ({ \
	__typeof__(pointer) _at = (pointer); \
	__typeof__(*_at) _set = (value); \
	kernel_stop(STOP_SHARED, 0); \
	__typeof__(*_at) _seen = *_at; \
	*_at = _set; \
	_seen; })
#define cmpxchg(pointer, old, new) ({ \
	__typeof__(pointer) _at = (pointer); \
	__typeof__(*_at) _if = (old), _set = (new); \
	kernel_stop(STOP_SHARED, 0); \
	__typeof__(*_at) _seen = *_at; \
	if (_seen == _if) \
		*_at = _set; \
	_seen; })
#define try_cmpxchg(pointer, expected, new) ({ \
	__typeof__(pointer) _expected = (__typeof__(pointer))(expected); \
	__typeof__(*_expected) _hoped = *_expected; \
	(*_expected = cmpxchg(pointer, _hoped, new)) == _hoped; })
#define cmpxchg_relaxed(pointer, old, new) cmpxchg(pointer, old, new)
#define cmpxchg_acquire(pointer, old, new) cmpxchg(pointer, old, new)
#define cmpxchg_release(pointer, old, new) cmpxchg(pointer, old, new)
#define cmpxchg64(pointer, old, new) cmpxchg(pointer, old, new)
#define try_cmpxchg64(pointer, expected, new) try_cmpxchg(pointer, expected, new)
#define smp_cond_load_relaxed(pointer, condition) ({ \
	__typeof__(pointer) _at = (pointer); \
	__typeof__(*_at) VAL; \
	while (VAL = READ_ONCE(*_at), !(condition)) \
		cpu_relax(); \
	VAL; })
#define smp_cond_load_acquire(pointer, condition) smp_cond_load_relaxed(pointer, condition)

typedef struct { int counter; } atomic_t;
typedef struct { s64 counter; } atomic64_t;
typedef atomic64_t atomic_long_t;
#define ATOMIC64_INIT(value) { (value) }
#define ATOMIC_INIT(value) { (value) }
static __always_inline int atomic_read(const atomic_t *v) { kernel_stop(STOP_PENDING, 0); return v->counter; }
static __always_inline void atomic_set(atomic_t *v, int value) { kernel_stop(STOP_PENDING, 0); v->counter = value; }
static __always_inline void atomic_inc(atomic_t *v) { kernel_stop(STOP_PENDING, 0); v->counter++; }
static __always_inline void atomic_dec(atomic_t *v) { kernel_stop(STOP_PENDING, 0); v->counter--; }
static __always_inline s64 atomic64_read(const atomic64_t *v) { kernel_stop(STOP_GENERATION, 0); return v->counter; }
static __always_inline void atomic64_set(atomic64_t *v, s64 value) { kernel_stop(STOP_GENERATION, 0); v->counter = value; }
static __always_inline void atomic64_inc(atomic64_t *v) { kernel_stop(STOP_FLUSH, 0); v->counter++; }
/* Only generations are of this type: a flush is requested. */
void kernel_flushes(const atomic64_t *generation);
static __always_inline s64 atomic64_inc_return(atomic64_t *v) { kernel_stop(STOP_FLUSH, 0); kernel_flushes(v); return ++v->counter; }
/* Atomic changes: each of an atomic_t has one stop, and each of an atomic64_t; a flush is requested by a new generation. */
#define __KERNEL_ATOMIC(name, type, value, at, asked) \
static __always_inline void name##_add(value n, type *v) { kernel_stop(at, 0); v->counter += n; } \
static __always_inline void name##_sub(value n, type *v) { kernel_stop(at, 0); v->counter -= n; } \
static __always_inline void name##_or(value n, type *v) { kernel_stop(at, 0); v->counter |= n; } \
static __always_inline void name##_and(value n, type *v) { kernel_stop(at, 0); v->counter &= n; } \
static __always_inline void name##_andnot(value n, type *v) { kernel_stop(at, 0); v->counter &= ~n; } \
static __always_inline value name##_add_return(value n, type *v) { kernel_stop(at, 0); asked; return v->counter += n; } \
static __always_inline value name##_sub_return(value n, type *v) { kernel_stop(at, 0); return v->counter -= n; } \
static __always_inline value name##_fetch_add(value n, type *v) { return name##_add_return(n, v) - n; } \
static __always_inline value name##_fetch_inc(type *v) { return name##_add_return(1, v) - 1; } \
static __always_inline value name##_dec_return(type *v) { return name##_sub_return(1, v); } \
static __always_inline bool name##_dec_and_test(type *v) { return !name##_sub_return(1, v); } \
static __always_inline bool name##_inc_and_test(type *v) { return !name##_add_return(1, v); } \
static __always_inline bool name##_sub_and_test(value n, type *v) { return !name##_sub_return(n, v); } \
static __always_inline value name##_fetch_or(value n, type *v) \
{ kernel_stop(at, 0); value before = v->counter; v->counter |= n; return before; } \
static __always_inline value name##_fetch_and(value n, type *v) \
{ kernel_stop(at, 0); value before = v->counter; v->counter &= n; return before; } \
static __always_inline value name##_xchg(type *v, value n) \
{ kernel_stop(at, 0); value before = v->counter; v->counter = n; return before; } \
static __always_inline value name##_cmpxchg(type *v, value old, value n) \
{ kernel_stop(at, 0); value before = v->counter; if (before == old) v->counter = n; return before; } \
static __always_inline bool name##_try_cmpxchg(type *v, value *expected, value n) \
{ value hoped = *expected; return (*expected = name##_cmpxchg(v, hoped, n)) == hoped; } \
static __always_inline bool name##_add_unless(type *v, value n, value unless) \
{ kernel_stop(at, 0); if (v->counter == unless) return false; v->counter += n; return true; } \
static __always_inline bool name##_inc_not_zero(type *v) { return name##_add_unless(v, 1, 0); } \
static __always_inline value name##_read_acquire(const type *v) { return name##_read(v); } \
static __always_inline void name##_set_release(type *v, value n) { name##_set(v, n); }
__KERNEL_ATOMIC(atomic, atomic_t, int, STOP_PENDING, (void)0)
__KERNEL_ATOMIC(atomic64, atomic64_t, s64, STOP_FLUSH, kernel_flushes(v))
static __always_inline int atomic_inc_return(atomic_t *v) { return atomic_add_return(1, v); }
static __always_inline void atomic64_dec(atomic64_t *v) { atomic64_sub(1, v); }
static __always_inline void __set_bit(long n, unsigned long *bits) { bits[n / 64] |= 1UL << n % 64; }
static __always_inline void __clear_bit(long n, unsigned long *bits) { bits[n / 64] &= ~(1UL << n % 64); }
static __always_inline bool test_bit(long n, const unsigned long *bits) { return bits[n / 64] >> n % 64 & 1; }
static __always_inline bool __test_and_set_bit(long n, unsigned long *bits)
{
	bool before = test_bit(n, bits);
	__set_bit(n, bits);
	return before;
}
static __always_inline bool __test_and_clear_bit(long n, unsigned long *bits)
{
	bool before = test_bit(n, bits);
	__clear_bit(n, bits);
	return before;
}
#define __assign_bit(n, bits, value) ((value) ? __set_bit(n, bits) : __clear_bit(n, bits))
static __always_inline void set_bit(long n, unsigned long *bits) { kernel_stop(STOP_SHARED, 0); __set_bit(n, bits); }
static __always_inline void clear_bit(long n, unsigned long *bits) { kernel_stop(STOP_SHARED, 0); __clear_bit(n, bits); }
static __always_inline void change_bit(long n, unsigned long *bits) { kernel_stop(STOP_SHARED, 0); bits[n / 64] ^= 1UL << n % 64; }
#define assign_bit(n, bits, value) ((value) ? set_bit(n, bits) : clear_bit(n, bits))
static __always_inline bool test_and_set_bit(long n, unsigned long *bits) { kernel_stop(STOP_SHARED, 0); return __test_and_set_bit(n, bits); }
static __always_inline bool test_and_clear_bit(long n, unsigned long *bits) { kernel_stop(STOP_SHARED, 0); return __test_and_clear_bit(n, bits); }
#define test_bit_acquire(n, bits) ({ kernel_stop_once(STOP_SHARED); test_bit(n, bits); })
#define test_and_set_bit_lock(n, bits) test_and_set_bit(n, bits)
#define clear_bit_unlock(n, bits) clear_bit(n, bits)
#define DECLARE_BITMAP(name, bits) unsigned long name[BITS_TO_LONGS(bits)]
static __always_inline void bitmap_andnot(unsigned long *to, const unsigned long *a, const unsigned long *b, int bits)
{
	for (int i = 0; i < BITS_TO_LONGS(bits); i++)
		to[i] = a[i] & ~b[i];
}
static __always_inline void bitmap_clear(unsigned long *to, int start, int bits)
{
	for (int i = start; i < start + bits; i++)
		__clear_bit(i, to);
}
static __always_inline unsigned long find_next_zero_bit(const unsigned long *bits, unsigned long size, unsigned long at)
{
	while (at < size && test_bit(at, bits))
		at++;
	return at;
}

static __always_inline unsigned long find_next_bit(const unsigned long *bits, unsigned long size, unsigned long at)
{
	while (at < size && !test_bit(at, bits))
		at++;
	return at;
}
#define find_first_bit(bits, size) find_next_bit(bits, size, 0)
#define find_first_zero_bit(bits, size) find_next_zero_bit(bits, size, 0)
#define for_each_set_bit(bit, bits, size) \
	for ((bit) = find_first_bit(bits, size); (bit) < (size); (bit) = find_next_bit(bits, size, (bit) + 1))
#define for_each_clear_bit(bit, bits, size) \
	for ((bit) = find_first_zero_bit(bits, size); (bit) < (size); (bit) = find_next_zero_bit(bits, size, (bit) + 1))
static __always_inline void bitmap_set(unsigned long *to, int start, int bits)
{
	for (int i = start; i < start + bits; i++)
		__set_bit(i, to);
}
#define bitmap_zero(to, bits) bitmap_clear(to, 0, bits)
#define bitmap_fill(to, bits) bitmap_set(to, 0, bits)
#define bitmap_empty(from, bits) (find_first_bit(from, bits) >= (bits))
#define bitmap_full(from, bits) (find_first_zero_bit(from, bits) >= (bits))
static __always_inline int bitmap_weight(const unsigned long *from, int bits)
{
	int count = 0;
	for (int i = 0; i < bits; i++)
		count += test_bit(i, from);
	return count;
}

struct cpumask { unsigned long bits; };
typedef struct cpumask cpumask_t;
extern struct cpumask kernel_online;
#define cpu_online_mask (&kernel_online)
static __always_inline bool cpumask_test_cpu(int cpu, const struct cpumask *m) { kernel_stop(STOP_MASK, 0); return m->bits >> cpu & 1; }
static __always_inline void cpumask_set_cpu(int cpu, struct cpumask *m) { kernel_stop(STOP_MASK, 0); m->bits |= 1UL << cpu; }
static __always_inline void cpumask_clear_cpu(int cpu, struct cpumask *m) { kernel_stop(STOP_MASK, 0); m->bits &= ~(1UL << cpu); }
static __always_inline bool cpumask_test_and_set_cpu(int cpu, struct cpumask *m)
{
	kernel_stop(STOP_MASK, 0);
	bool before = m->bits >> cpu & 1;
	m->bits |= 1UL << cpu;
	return before;
}
static __always_inline bool cpumask_test_and_clear_cpu(int cpu, struct cpumask *m)
{
	kernel_stop(STOP_MASK, 0);
	bool before = m->bits >> cpu & 1;
	m->bits &= ~(1UL << cpu);
	return before;
}
static __always_inline void cpumask_clear(struct cpumask *m) { kernel_stop(STOP_MASK, 0); m->bits = 0; }
static __always_inline bool cpumask_empty(const struct cpumask *m) { kernel_stop(STOP_MASK, 0); return !m->bits; }
static __always_inline unsigned int cpumask_weight(const struct cpumask *m)
{
	kernel_stop(STOP_MASK, 0);
	unsigned int count = 0;
	for (unsigned long left = m->bits; left; left &= left - 1)
		count++;
	return count;
}
static __always_inline void cpumask_or(struct cpumask *to, const struct cpumask *a, const struct cpumask *b)
{
	kernel_stop(STOP_MASK, 0);
	to->bits = a->bits | b->bits;
}
static __always_inline void cpumask_copy(struct cpumask *to, const struct cpumask *from)
{
	kernel_stop(STOP_MASK, 0);
	to->bits = from->bits;
}
static __always_inline unsigned int cpumask_any_but(const struct cpumask *m, int cpu)
{
	kernel_stop(STOP_MASK, 0);
	unsigned long others = m->bits & ~(1UL << cpu);
	return others ? (unsigned int)__builtin_ctzl(others) : nr_cpu_ids;
}
#define for_each_cpu(cpu, mask) for ((cpu) = 0; (cpu) < NR_CPUS; (cpu)++) if (cpumask_test_cpu(cpu, mask))
/* What reads a mask reads it at once. */
static __always_inline unsigned int kernel_next_cpu(int after, unsigned long set)
{
	for (unsigned int cpu = after + 1; cpu < nr_cpu_ids; cpu++)
		if (set >> cpu & 1)
			return cpu;
	return nr_cpu_ids;
}
static __always_inline unsigned long kernel_mask(const struct cpumask *m) { kernel_stop(STOP_MASK, 0); return m->bits; }
static __always_inline unsigned long kernel_both(const struct cpumask *a, const struct cpumask *b)
{
	kernel_stop(STOP_MASK, 0);
	return a->bits & b->bits;
}
#define kernel_all_cpus ((1UL << NR_CPUS) - 1)
#define cpumask_next(after, m) kernel_next_cpu(after, kernel_mask(m))
#define cpumask_next_zero(after, m) kernel_next_cpu(after, ~kernel_mask(m))
#define cpumask_next_and(after, a, b) kernel_next_cpu(after, kernel_both(a, b))
#define cpumask_first(m) cpumask_next(-1, m)
#define cpumask_first_zero(m) cpumask_next_zero(-1, m)
#define cpumask_first_and(a, b) cpumask_next_and(-1, a, b)
#define cpumask_any(m) cpumask_first(m)
#define cpumask_any_and(a, b) cpumask_first_and(a, b)
#define cpumask_any_distribute(m) cpumask_first(m)
#define cpumask_any_and_but(a, b, cpu) kernel_next_cpu(-1, kernel_both(a, b) & ~(1UL << (cpu)))
#define cpumask_weight_and(a, b) hweight_long(kernel_both(a, b))
#define cpumask_intersects(a, b) (kernel_both(a, b) != 0)
#define cpumask_full(m) (!(~kernel_mask(m) & kernel_all_cpus))
#define cpumask_setall(m) ({ kernel_stop(STOP_MASK, 0); (void)((m)->bits = kernel_all_cpus); })
#define __cpumask_set_cpu(cpu, m) ((void)((m)->bits |= 1UL << (cpu)))
#define __cpumask_clear_cpu(cpu, m) ((void)((m)->bits &= ~(1UL << (cpu))))
#define cpumask_assign_cpu(cpu, m, value) ((value) ? cpumask_set_cpu(cpu, m) : cpumask_clear_cpu(cpu, m))
static __always_inline bool cpumask_and(struct cpumask *to, const struct cpumask *a, const struct cpumask *b)
{
	kernel_stop(STOP_MASK, 0);
	return (to->bits = a->bits & b->bits) != 0;
}
static __always_inline bool cpumask_andnot(struct cpumask *to, const struct cpumask *a, const struct cpumask *b)
{
	kernel_stop(STOP_MASK, 0);
	return (to->bits = a->bits & ~b->bits) != 0;
}
static __always_inline void cpumask_xor(struct cpumask *to, const struct cpumask *a, const struct cpumask *b)
{
	kernel_stop(STOP_MASK, 0);
	to->bits = a->bits ^ b->bits;
}
static __always_inline bool cpumask_equal(const struct cpumask *a, const struct cpumask *b)
{
	kernel_stop(STOP_MASK, 0);
	return a->bits == b->bits;
}
static __always_inline bool cpumask_subset(const struct cpumask *a, const struct cpumask *b)
{
	kernel_stop(STOP_MASK, 0);
	return !(a->bits & ~b->bits);
}
#define cpumask_of(cpu) (&(const struct cpumask){ 1UL << (cpu) })
#define CPU_MASK_NONE ((struct cpumask){ 0 })
#define cpu_possible_mask cpu_online_mask
#define cpu_present_mask cpu_online_mask
#define cpu_active_mask cpu_online_mask
#define cpu_online(cpu) (kernel_online.bits >> (cpu) & 1)
#define num_online_cpus() hweight_long(kernel_online.bits)
#define num_possible_cpus() num_online_cpus()
#define nr_cpumask_bits nr_cpu_ids
#define cpumask_bits(m) (&(m)->bits)
typedef struct cpumask cpumask_var_t[1];
#define zalloc_cpumask_var(m, flags) ((*(m))->bits = 0, true)
#define alloc_cpumask_var(m, flags) zalloc_cpumask_var(m, flags)
#define free_cpumask_var(m) ((void)(m))
#define for_each_cpu_and(cpu, a, b) \
	for ((cpu) = 0; (cpu) < NR_CPUS; (cpu)++) if (kernel_both(a, b) >> (cpu) & 1)
#define for_each_cpu_andnot(cpu, a, b) \
	for ((cpu) = 0; (cpu) < NR_CPUS; (cpu)++) if ((kernel_mask(a) & ~(b)->bits) >> (cpu) & 1)
#define for_each_cpu_or(cpu, a, b) \
	for ((cpu) = 0; (cpu) < NR_CPUS; (cpu)++) if ((kernel_mask(a) | (b)->bits) >> (cpu) & 1)
#define for_each_online_cpu(cpu) for_each_cpu(cpu, cpu_online_mask)
#define for_each_present_cpu(cpu) for_each_online_cpu(cpu)
#define for_each_possible_cpu(cpu) for ((cpu) = 0; (cpu) < NR_CPUS; (cpu)++)

typedef void (*smp_call_func_t)(void *);
typedef bool (*smp_cond_func_t)(int, void *);
void on_each_cpu_cond_mask(smp_cond_func_t condition, smp_call_func_t function, void *info, bool wait,
			   const struct cpumask *mask);
#define on_each_cpu_mask(mask, function, info, wait) on_each_cpu_cond_mask(NULL, function, info, wait, mask)
#define on_each_cpu(function, info, wait) on_each_cpu_cond_mask(NULL, function, info, wait, cpu_online_mask)
#define on_each_cpu_cond(condition, function, info, wait) \
	on_each_cpu_cond_mask(condition, function, info, wait, cpu_online_mask)
void smp_call_function(smp_call_func_t function, void *info, int wait);
#define smp_call_function_many(mask, function, info, wait) ({ \
	struct cpumask _others = { kernel_mask(mask) & ~(1UL << kernel_cpu()) }; \
	on_each_cpu_cond_mask(NULL, function, info, wait, &_others); })
#define smp_call_function_single(cpu, function, info, wait) \
	({ on_each_cpu_cond_mask(NULL, function, info, wait, cpumask_of(cpu)); 0; })
#define cpus_read_lock() ((void)0)
#define cpus_read_unlock() ((void)0)

struct rw_semaphore { int unused; };
typedef struct { int held; } spinlock_t;
struct mutex { spinlock_t lock; };
typedef spinlock_t raw_spinlock_t;
#define __MUTEX_INITIALIZER(name) { 0 }
#define DEFINE_RAW_SPINLOCK(name) raw_spinlock_t name
#define DEFINE_SPINLOCK(name) spinlock_t name
struct kernel_guard { unsigned long flags; spinlock_t *lock; };
void kernel_lock(spinlock_t *lock);
void kernel_unlock(spinlock_t *lock);
#define raw_spin_lock(lock) kernel_lock(lock)
#define raw_spin_unlock(lock) kernel_unlock(lock)
#define spin_lock(lock) kernel_lock(lock)
#define spin_unlock(lock) kernel_unlock(lock)
#define raw_spin_lock_irqsave(lock, flags) do { local_irq_save(flags); kernel_lock(lock); } while (0)
#define raw_spin_unlock_irqrestore(lock, flags) do { kernel_unlock(lock); local_irq_restore(flags); } while (0)
#define spin_lock_irqsave(lock, flags) raw_spin_lock_irqsave(lock, flags)
#define spin_unlock_irqrestore(lock, flags) raw_spin_unlock_irqrestore(lock, flags)
#define raw_spin_lock_irq(lock) do { local_irq_disable(); kernel_lock(lock); } while (0)
#define raw_spin_unlock_irq(lock) do { kernel_unlock(lock); local_irq_enable(); } while (0)
#define spin_lock_irq(lock) raw_spin_lock_irq(lock)
#define spin_unlock_irq(lock) raw_spin_unlock_irq(lock)
#define spin_is_locked(lock) READ_ONCE((lock)->held)
#define spin_trylock(lock) \
	({ spinlock_t *_lock = (lock); bool _free = !spin_is_locked(_lock); if (_free) kernel_lock(_lock); _free; })
#define raw_spin_trylock(lock) spin_trylock(lock)
#define spin_lock_init(lock) ((void)((lock)->held = 0))
#define raw_spin_lock_init(lock) spin_lock_init(lock)
#define DEFINE_MUTEX(name) struct mutex name
#define mutex_init(mutex) spin_lock_init(&(mutex)->lock)
#define mutex_lock(mutex) kernel_lock(&(mutex)->lock)
#define mutex_trylock(mutex) spin_trylock(&(mutex)->lock)
#define mutex_unlock(mutex) kernel_unlock(&(mutex)->lock)
#define kernel_guard_spinlock(lock) kernel_guard_raw_spinlock(lock)
#define kernel_guard_spinlock_irqsave(lock) kernel_guard_raw_spinlock_irqsave(lock)
#define kernel_guard_mutex(mutex) kernel_guard_raw_spinlock(&(mutex)->lock)
struct kernel_guard kernel_guard_preempt(void);
struct kernel_guard kernel_guard_irqsave(void);
struct kernel_guard kernel_guard_irq(void);
struct kernel_guard kernel_guard_rcu(void);
struct kernel_guard kernel_guard_raw_spinlock(spinlock_t *lock);
struct kernel_guard kernel_guard_raw_spinlock_irqsave(spinlock_t *lock);
void kernel_guard_end(struct kernel_guard *guard);
#define __KERNEL_GUARD(line) ___KERNEL_GUARD(line)
#define ___KERNEL_GUARD(line) guard_in_line_##line
#define guard(kind) \
	struct kernel_guard __KERNEL_GUARD(__LINE__) __attribute__((cleanup(kernel_guard_end))) = kernel_guard_##kind
#define scoped_guard(kind, ...) \
	for (struct kernel_guard __KERNEL_GUARD(__LINE__) __attribute__((cleanup(kernel_guard_end))) = \
		     kernel_guard_##kind(__VA_ARGS__), *_once = &__KERNEL_GUARD(__LINE__); _once; _once = NULL)
void kernel_spin(void);
#define cpu_relax() kernel_spin()

/* Instructions. */
unsigned long kernel_read_cr3(void);
void kernel_write_cr3(unsigned long value, unsigned long flushes);
#define __read_cr3() kernel_read_cr3()
#define read_cr3() kernel_read_cr3()
#define __native_read_cr3() kernel_read_cr3()
#define read_cr3_pa() (kernel_read_cr3() & ~0xfffUL)
#define write_cr3(value) kernel_write_cr3(value, 0)
#define native_write_cr3(value) kernel_write_cr3(value, 1)
#define __read_cr4() X86_CR4_PCIDE
#define native_write_cr4(value) kernel_invalidate(NOTE_INVPCID_ALL, 1, 0)
void kernel_invalidate(enum note what, unsigned long a, unsigned long b);
#define kernel_asm_invlpg(address) kernel_invalidate(NOTE_INVLPG, (unsigned long)(address), 0)
#define kernel_asm_invlpgb(rax, ecx, edx) \
	kernel_invalidate(NOTE_INVLPGB, rax, (unsigned long)(ecx) << 32 | (edx))
#define kernel_asm_tlbsync() kernel_invalidate(NOTE_TLBSYNC, 0, 0)
#define kernel_asm_unknown(text) kernel_note(NOTE_INSTRUCTION, (unsigned long)(text), 0)
#define invpcid_flush_one(pcid, address) kernel_invalidate(NOTE_INVPCID_ONE, pcid, address)
#define invpcid_flush_single_context(pcid) kernel_invalidate(NOTE_INVPCID_ONE, pcid, ~0UL)
#define invpcid_flush_all() kernel_invalidate(NOTE_INVPCID_ALL, 1, 0)
#define invpcid_flush_all_nonglobals() kernel_invalidate(NOTE_INVPCID_ALL, 0, 0)

/* The processor: with PCID, INVPCID and global pages; broadcasts if the scenario's machine has them. */
enum kernel_feature {
	X86_FEATURE_PCID, X86_FEATURE_INVPCID, X86_FEATURE_INVPCID_SINGLE, X86_FEATURE_PGE, X86_FEATURE_OSPKE,
	X86_FEATURE_PTI, X86_FEATURE_INVLPGB, X86_FEATURE_LAM, X86_FEATURE_TLBSYNC, X86_BUG_TLBI,
};
bool kernel_has(enum kernel_feature feature);
#define static_cpu_has(feature) kernel_has(feature)
#define boot_cpu_has(feature) kernel_has(feature)
#define this_cpu_has(feature) kernel_has(feature)
#define cpu_feature_enabled(feature) kernel_has(feature)
#define static_cpu_has_bug(bug) kernel_has(bug)
#define boot_cpu_has_bug(bug) kernel_has(bug)

/* Time passes by the operation `tick` only. */
#define HZ 100
extern unsigned long jiffies;
#define time_after(a, b) ((long)((b) - (a)) < 0)
#define time_before(a, b) time_after(b, a)
#define time_after_eq(a, b) ((long)((a) - (b)) >= 0)
#define time_before_eq(a, b) time_after_eq(b, a)
#define time_is_before_jiffies(a) time_after(jiffies, a)
#define time_is_after_jiffies(a) time_before(jiffies, a)
