/*
 * What arch/x86/mm/tlb.c and mm/mmu_gather.c find around them in a kernel, for a program: types, annotations, and what
 * has no effect here. Names and signatures are the kernel's; what stands for them is in this file and the next two.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed short s16;
typedef signed int s32;
typedef signed long long s64;
typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef _Bool bool;
enum { false, true };
typedef unsigned long size_t;
typedef unsigned long uintptr_t;
typedef long ssize_t;
typedef long long loff_t;
typedef unsigned long phys_addr_t;
typedef unsigned long resource_size_t;
#define NULL ((void *)0)

#define __init
#define __user
#define __force
#define __percpu
#define __read_mostly
#define __ro_after_init
#define __always_inline inline __attribute__((always_inline))
#define noinline __attribute__((noinline))
#define __packed __attribute__((packed))
#define __aligned(bytes) __attribute__((aligned(bytes)))
#define ____cacheline_aligned
#define ____cacheline_aligned_in_smp
#define __maybe_unused __attribute__((unused))
#define __must_check
#define __cold
#define __pure
#define __attribute_const__
#define fallthrough __attribute__((fallthrough))
#define asmlinkage
#define notrace
#define noinstr
#define SMP_CACHE_BYTES 64
#define likely(x) (x)
#define unlikely(x) (x)
#define EXPORT_SYMBOL(name)
#define EXPORT_SYMBOL_GPL(name)
#define EXPORT_SYMBOL_FOR_KVM(name)
#define EXPORT_PER_CPU_SYMBOL(name)
#define EXPORT_PER_CPU_SYMBOL_GPL(name)
#define late_initcall(function)
#define core_initcall(function)

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member) ((type *)((char *)(pointer) - __builtin_offsetof(type, member)))
#define offsetof(type, member) __builtin_offsetof(type, member)
#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define GENMASK(high, low) ((~0UL << (low)) & (~0UL >> (63 - (high))))
#define GENMASK_ULL(high, low) ((~0ULL << (low)) & (~0ULL >> (63 - (high))))
#define BITS_TO_LONGS(bits) (((bits) + 63) / 64)
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define min(a, b) ({ __typeof__((a) + (b)) _a = (a), _b = (b); _a < _b ? _a : _b; })
#define max(a, b) ({ __typeof__((a) + (b)) _a = (a), _b = (b); _a > _b ? _a : _b; })
#define min_t(type, a, b) ({ type _a = (a), _b = (b); _a < _b ? _a : _b; })
#define max_t(type, a, b) ({ type _a = (a), _b = (b); _a > _b ? _a : _b; })
#define clamp(value, low, high) min(max(value, low), high)
#define clamp_val(value, low, high) ((__typeof__(value))clamp(value, (__typeof__(value))(low), (__typeof__(value))(high)))
#define clamp_t(type, value, low, high) min_t(type, max_t(type, value, low), high)
#define min3(a, b, c) min(min(a, b), c)
#define max3(a, b, c) max(max(a, b), c)
#define swap(a, b) do { __typeof__(a) _swapped = (a); (a) = (b); (b) = _swapped; } while (0)
#define abs(x) ({ __typeof__(x) _x = (x); _x < 0 ? -_x : _x; })
#define round_up(x, y) ((((x) - 1) | ((__typeof__(x))((y) - 1))) + 1)
#define round_down(x, y) ((x) & ~((__typeof__(x))((y) - 1)))
#define roundup(x, y) ({ __typeof__(y) _y = (y); ((x) + (_y - 1)) / _y * _y; })
#define rounddown(x, y) ({ __typeof__(x) _x = (x); _x - _x % (y); })
#define ALIGN(x, y) round_up(x, y)
#define ALIGN_DOWN(x, y) round_down(x, y)
#define IS_ALIGNED(x, y) (((x) & ((__typeof__(x))(y) - 1)) == 0)
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define PAGE_ALIGN(address) ALIGN(address, PAGE_SIZE)
#define PAGE_ALIGN_DOWN(address) ALIGN_DOWN(address, PAGE_SIZE)
#define PAGE_ALIGNED(address) IS_ALIGNED((unsigned long)(address), PAGE_SIZE)
#define PFN_UP(x) (((x) + PAGE_SIZE - 1) >> PAGE_SHIFT)
#define PFN_DOWN(x) ((x) >> PAGE_SHIFT)
#define lower_32_bits(n) ((u32)((n) & 0xffffffff))
#define upper_32_bits(n) ((u32)((u64)(n) >> 32))
#define FIELD_GET(mask, word) ((__typeof__(mask))(((word) & (mask)) >> __builtin_ctzll(mask)))
#define FIELD_PREP(mask, value) (((__typeof__(mask))(value) << __builtin_ctzll(mask)) & (mask))
/* The compiler's own would call its library. */
static __always_inline unsigned int hweight64(u64 x)
{
	unsigned int count = 0;
	for (; x; x &= x - 1)
		count++;
	return count;
}
#define hweight32(x) hweight64((u32)(x))
#define hweight_long(x) hweight64(x)
#define ffs(x) __builtin_ffs(x)
#define __ffs(x) ((unsigned long)__builtin_ctzl(x))
#define ffz(x) __ffs(~(x))
#define __fls(x) (63UL - __builtin_clzl(x))
static __always_inline int fls(unsigned int x) { return x ? 32 - __builtin_clz(x) : 0; }
static __always_inline int fls64(u64 x) { return x ? 64 - __builtin_clzll(x) : 0; }
#define fls_long(x) fls64(x)
#define ilog2(x) (fls64(x) - 1)
#define is_power_of_2(x) ({ unsigned long _p = (x); _p && !(_p & (_p - 1)); })
#define roundup_pow_of_two(x) (1UL << fls64((unsigned long)(x) - 1))
#define rounddown_pow_of_two(x) (1UL << ilog2(x))
#define U8_MAX ((u8)~0)
#define U16_MAX ((u16)~0)
#define U32_MAX ((u32)~0)
#define U64_MAX ((u64)~0ULL)
#define INT_MAX ((int)(~0U >> 1))
#define UINT_MAX (~0U)
#define LONG_MAX ((long)(~0UL >> 1))
#define ULONG_MAX (~0UL)
#define typeof __typeof__
#define __always_unused __attribute__((unused))
#define __cacheline_aligned
#define __cacheline_aligned_in_smp
#define MAX_ERRNO 4095
#define ERR_PTR(error) ((void *)(long)(error))
#define PTR_ERR(pointer) ((long)(pointer))
#define IS_ERR(pointer) ((unsigned long)(pointer) >= (unsigned long)-MAX_ERRNO)
#define IS_ERR_OR_NULL(pointer) (!(pointer) || IS_ERR(pointer))
void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int byte, size_t count);
/* Without optimization few conditions are constant; the kernel's own build checks them. */
#define BUILD_BUG_ON(condition) ((void)sizeof(condition))
#define BUILD_BUG_ON_MSG(condition, message) ((void)sizeof(condition))
#define static_assert(condition, ...) _Static_assert(condition, #condition)

#define __KERNEL_ENABLED_1 0,
#define __KERNEL_SECOND(ignored, value, ...) value
#define __KERNEL_IS(value) __KERNEL_IS_(value)
#define __KERNEL_IS_(value) __KERNEL_IS__(__KERNEL_ENABLED_##value)
#define __KERNEL_IS__(one_or_junk) __KERNEL_SECOND(one_or_junk 1, 0, 0)
#define IS_ENABLED(option) __KERNEL_IS(option)
#define IS_BUILTIN(option) __KERNEL_IS(option)

#define HPAGE_PMD_SIZE PMD_SIZE
#define HPAGE_PUD_SIZE PUD_SIZE
#define TASK_SIZE (1UL << 47)
#define __PHYSICAL_MASK_SHIFT 52
#define __VIRTUAL_MASK_SHIFT 47
#define __pgd(x) ((pgd_t){ (x) })
#define sme_me_mask 0UL
#define pgprot_encrypted(x) (x)
#define pgprot_decrypted(x) (x)
#define __sme_pa(pointer) ((unsigned long)(pointer))
#define __sme_clr(x) (x)
#define __pa(pointer) ((unsigned long)(pointer))
#define __va(address) ((void *)(address))

/* Sequential consistency: the simulation has no other order than that of the steps. */
void kernel_barrier(void);
#define barrier() kernel_barrier()
#define smp_mb() kernel_barrier()
#define rmb() kernel_barrier()
#define wmb() kernel_barrier()
#define smp_mb__after_unlock_lock() kernel_barrier()
#define smp_acquire__after_ctrl_dep() kernel_barrier()
#define smp_rmb() kernel_barrier()
#define smp_wmb() kernel_barrier()
#define mb() kernel_barrier()
#define smp_mb__before_atomic() kernel_barrier()
#define smp_mb__after_atomic() kernel_barrier()
#define smp_mb__after_spinlock() kernel_barrier()

/* The kernel's assertions are outcomes (kernel/strategy.py). */
void kernel_warning(const char *condition, const char *file, int line, const char *function);
#define WARN_ON(condition) \
	({ bool _warned = !!(condition); \
	   if (_warned) kernel_warning(#condition, __FILE__, __LINE__, __func__); _warned; })
#define WARN_ON_ONCE(condition) WARN_ON(condition)
#define WARN(condition, ...) WARN_ON(condition)
#define WARN_ONCE(condition, ...) WARN_ON(condition)
#define BUG_ON(condition) ((void)WARN_ON(condition))
#define BUG() ((void)WARN_ON("BUG()"))
#ifdef CONFIG_DEBUG_VM
#define VM_WARN_ON(condition) WARN_ON(condition)
#define VM_WARN_ON_ONCE(condition) WARN_ON(condition)
#define VM_WARN_ONCE(condition, ...) WARN_ON(condition)
#define VM_WARN(condition, ...) WARN_ON(condition)
#define VM_BUG_ON(condition) ((void)WARN_ON(condition))
#define VM_BUG_ON_PAGE(condition, page) ((void)WARN_ON(condition))
#define VM_BUG_ON_MM(condition, mm) ((void)WARN_ON(condition))
#else
#define VM_WARN_ON(condition) ((void)sizeof((long)(condition)))
#define VM_WARN_ON_ONCE(condition) ((void)sizeof((long)(condition)))
#define VM_WARN_ONCE(condition, ...) ((void)sizeof((long)(condition)))
#define VM_WARN(condition, ...) ((void)sizeof((long)(condition)))
#define VM_BUG_ON(condition) ((void)sizeof((long)(condition)))
#define VM_BUG_ON_PAGE(condition, page) ((void)sizeof((long)(condition)))
#define VM_BUG_ON_MM(condition, mm) ((void)sizeof((long)(condition)))
#endif
#define DEBUG_LOCKS_WARN_ON(condition) 0
#define lockdep_assert_irqs_enabled() ((void)0)
#define lockdep_assert_irqs_disabled() ((void)0)
#define lockdep_assert_preemption_disabled() ((void)0)
#define lockdep_assert_held(lock) ((void)0)
#define lockdep_assert_held_once(lock) ((void)0)
#define lockdep_assert_not_held(lock) ((void)0)
#define lockdep_assert_preemption_enabled() ((void)0)
#define assert_spin_locked(lock) ((void)0)
#define cant_migrate() ((void)0)
#define might_sleep_if(condition) ((void)sizeof((long)(condition)))
#define ASSERT_EXCLUSIVE_WRITER(variable) ((void)sizeof(variable))
#define ASSERT_EXCLUSIVE_ACCESS(variable) ((void)sizeof(variable))
#define might_sleep() ((void)0)

/* Speculation, breakpoints, perf, the LDT, tracing, statistics, debugfs: compiled, without an effect. */
struct static_key_false { int unused; };
struct static_key_true { int unused; };
#define DECLARE_STATIC_KEY_FALSE(name)
#define DECLARE_STATIC_KEY_TRUE(name)
#define DEFINE_STATIC_KEY_FALSE(name)
/* Every branch on a key is as if the key were off, so a key that is on would be a lie. */
#define DEFINE_STATIC_KEY_TRUE(name) _Static_assert(0, "a static key that is on is not simulated: " #name)
#define static_branch_likely(key) 0
#define static_branch_unlikely(key) 0
#define indirect_branch_prediction_barrier() ((void)0)
#define wrmsrl(register, value) ((void)0)
#define wrmsrq(register, value) ((void)0)
#define MSR_IA32_FLUSH_CMD 0
#define L1D_FLUSH 0
#define TIF_SPEC_IB 9
#define TIF_SPEC_L1D_FLUSH 10
#define TWA_RESUME 0
#define SIGBUS 7
#define force_sig(signal) ((void)0)
#define task_work_add(task, work, mode) ((void)0)
#define clear_ti_thread_flag(thread, flag) ((void)0)
#define read_task_thread_flags(task) 0UL
#define switch_ldt(before, after) ((void)0)
#define trace_tlb_flush(reason, pages) ((void)0)
#define inc_irq_stat(name) ((void)0)
#define count_vm_tlb_event(name) ((void)0)
#define count_vm_tlb_events(name, count) ((void)0)
#define mmu_notifier_invalidate_range(mm, start, end) ((void)0)
#define mmu_notifier_arch_invalidate_secondary_tlbs(mm, start, end) ((void)0)
enum {
	TLB_FLUSH_ON_TASK_SWITCH,
	TLB_REMOTE_SHOOTDOWN,
	TLB_LOCAL_SHOOTDOWN,
	TLB_LOCAL_MM_SHOOTDOWN,
	TLB_REMOTE_SEND_IPI,
	TLB_REMOTE_WRONG_CPU,
};
#define hw_breakpoint_active() 0
#define hw_breakpoint_disable() ((void)0)
#define hw_breakpoint_restore() ((void)0)
#define is_notrack_mm(mm) 0
struct file;
struct inode;
struct file_operations { void *read, *write, *llseek, *open; };
#define default_llseek NULL
#define simple_read_from_buffer(to, count, position, from, available) 0
#define copy_from_user(to, from, count) 0UL
#define kstrtoint(text, base, result) 0
#define kstrtoint_from_user(text, count, base, result) (*(result) = 0)
#define sprintf(to, ...) 0
#define debugfs_create_file(...) ((void)0)
#define pr_warn_once(...) ((void)0)
#define pr_info(...) ((void)0)
#define pr_info_once(...) ((void)0)
#define pr_notice(...) ((void)0)
#define pr_warn(...) ((void)0)
#define pr_warn_ratelimited(...) ((void)0)
#define pr_err(...) ((void)0)
#define pr_err_once(...) ((void)0)
#define pr_debug(...) ((void)0)
#define trace_printk(...) ((void)0)
#define count_vm_event(name) ((void)0)
#define count_vm_events(name, count) ((void)0)
#define EAGAIN 11
#define EFAULT 14
#define EBUSY 16
#define ENODEV 19
#define EINVAL 22
#define ENOMEM 12
#define S_IRUSR 0
#define S_IWUSR 0
struct vdso_image;
struct ldt_struct;
struct ptdesc;
struct mm_struct;
struct mmu_gather;
struct vm_area_struct;
struct task_struct;
