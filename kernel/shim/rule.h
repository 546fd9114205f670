/*
 * What a need-flush rule finds around it in a kernel, for a program: the configuration, types, and what is empty here.
 * Each name of this file takes precedence over the tree's.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed int s32;
typedef signed long long s64;
typedef unsigned long phys_addr_t;
typedef unsigned long resource_size_t;
typedef _Bool bool;
enum { false, true };

#define NULL ((void *)0)
typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef unsigned long size_t;
typedef unsigned long uintptr_t;
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define GENMASK(high, low) ((~0UL << (low)) & (~0UL >> (63 - (high))))
#define GENMASK_ULL(high, low) ((~0ULL << (low)) & (~0ULL >> (63 - (high))))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define fallthrough __attribute__((fallthrough))
#define noinline __attribute__((noinline))
#define notrace
#define __cold
#define __no_sanitize_address
#define inline __inline__
#define __always_inline __inline__
#define __attribute_const__
#define __pure
#define __must_check
#define __maybe_unused
#define __force
#define __packed __attribute__((packed))
#define __aligned(bytes) __attribute__((aligned(bytes)))
#define __used
#define __nonnull(...)
#define __printf(...)
#define __no_sanitize(...)
#define __no_sanitize_undefined
#define __no_kcsan
#define noinline_for_stack noinline
#define likely(x) (x)
#define unlikely(x) (x)
#define READ_ONCE(x) (x)
#define __KERNEL_ENABLED_1 0,
#define __KERNEL_SECOND(ignored, value, ...) value
#define __KERNEL_IS(value) __KERNEL_IS_(value)
#define __KERNEL_IS_(value) __KERNEL_IS__(__KERNEL_ENABLED_##value)
#define __KERNEL_IS__(one_or_junk) __KERNEL_SECOND(one_or_junk 1, 0, 0)
#define IS_ENABLED(option) __KERNEL_IS(option)
#define IS_BUILTIN(option) __KERNEL_IS(option)
extern void __shootdown_build_bug(void) __attribute__((error("a BUILD_BUG_ON of the tree")));
#ifdef SHOOTDOWN_TRACED
/* Without optimization no condition is known to be false; it has been checked before. */
#define BUILD_BUG_ON(condition) do { } while (0)
#define BUILD_BUG() do { } while (0)
#else
#define BUILD_BUG_ON(condition) do { if (condition) __shootdown_build_bug(); } while (0)
#define BUILD_BUG() __shootdown_build_bug()
#endif
#define BUILD_BUG_ON_MSG(condition, message) BUILD_BUG_ON(condition)

/* A warning says that the text has met what it does not expect; in a rule it decides nothing. */
#define WARN_ON(condition) ({ (!!(condition)); })
#define WARN_ON_ONCE(condition) WARN_ON(condition)
#define VM_WARN_ON(condition) WARN_ON(condition)
#define VM_WARN_ON_ONCE(condition) WARN_ON(condition)
#define VM_BUG_ON(condition) ((void)(condition))
#define BUG_ON(condition) ((void)(condition))
#define WARN_ONCE(condition, ...) WARN_ON(condition)
#define VM_WARN_ONCE(condition, ...) WARN_ON(condition)
#define pr_warn_once(...) ((void)0)

/* Processors here have every feature that an entry may show. */
#define cpu_feature_enabled(feature) 1
#define boot_cpu_has(feature) 1
#define static_cpu_has(feature) 1
#define sme_me_mask 0UL
