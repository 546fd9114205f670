/*
 * Every access of the text to its state, as the compiler's -fsanitize=thread reports it. Which accesses to what CPUs
 * share have no stop before them? (One stop is enough for a read and a write of the same word.)
 */
#define EXPORTED __attribute__((visibility("default")))
#define OUTSIDE __attribute__((section("outside")))
#define BYTES 32768
#define PLACES 1024
extern char __start_arena[], __stop_arena[];
extern const char __ehdr_start[];
int kernel_context(int *on, int *atomic, int *locked, int *interrupts);
int kernel_is_private(const void *address);
extern int kernel_fresh;
/*
 * By byte of the block: the CPUs on which code has used it, and the calls' CPUs; the two differ in an interrupt's
 * handler, which is a part of the call that has sent the interrupt. Whether it was written, and used without a lock.
 */
OUTSIDE static struct { unsigned char on, calls, written, unlocked; } bytes[BYTES] = { { 0 } };
/* The accesses without a stop before them. */
OUTSIDE static struct { unsigned int byte; unsigned char on, writes, interrupts, locked; unsigned long code; } places[PLACES] = { { 0 } };
OUTSIDE static int placed = 0;
#define LATELY 509
OUTSIDE static unsigned long lately[LATELY] = { 0 };
OUTSIDE static unsigned long last = 0;
OUTSIDE static int last_call = -1;

static void place(unsigned int byte, unsigned long code, int on, int writes, int interrupts, int locked)
{
	for (int i = 0; i < placed; i++)
		if (places[i].byte == byte && places[i].code == code && places[i].interrupts == interrupts &&
		    places[i].locked == locked)
			return;
	if (placed < PLACES) {
		places[placed].byte = byte;
		places[placed].code = code;
		places[placed].on = on;
		places[placed].writes = writes;
		places[placed].interrupts = interrupts;
		places[placed++].locked = locked;
	}
}
static void accessed(void *address, int writes, unsigned long code)
{
	unsigned long byte = (char *)address - __start_arena;
	int call, on, atomic, locked, interrupts;
	if ((char *)address < __start_arena || (char *)address >= __stop_arena || byte >= BYTES)
		return;
	call = kernel_context(&on, &atomic, &locked, &interrupts);
	if (call < 0 || kernel_is_private(address))
		return;
	bytes[byte].on |= 1u << on;
	bytes[byte].calls |= 1u << call;
	bytes[byte].written |= writes << on;
	bytes[byte].unlocked |= !locked;
	if (!kernel_fresh && !atomic && !(byte == last && call == last_call)) {
		/* The same places come again and again. */
		unsigned long key = (code << 16 ^ byte) << 2 | interrupts << 1 | locked;
		unsigned long *known = &lately[(key ^ key >> 18) % LATELY];
		if (*known != key) {
			*known = key;
			place(byte, code, on, writes, interrupts, locked);
		}
	}
	kernel_fresh = 0;
	last = byte;
	last_call = call;
}
#define CODE ((unsigned long)__builtin_return_address(0) - (unsigned long)__ehdr_start - 1)
#define HOOKS(bytes) \
	void __tsan_read##bytes(void *p) { accessed(p, 0, CODE); } \
	void __tsan_write##bytes(void *p) { accessed(p, 1, CODE); } \
	void __tsan_unaligned_read##bytes(void *p) { accessed(p, 0, CODE); } \
	void __tsan_unaligned_write##bytes(void *p) { accessed(p, 1, CODE); } \
	void __tsan_volatile_read##bytes(void *p) { accessed(p, 0, CODE); } \
	void __tsan_volatile_write##bytes(void *p) { accessed(p, 1, CODE); }
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
void __tsan_read_range(void *p, long bytes) { accessed(p, 0, CODE); }
void __tsan_write_range(void *p, long bytes) { accessed(p, 1, CODE); }
void __tsan_func_entry(void *p) { }
void __tsan_func_exit(void *p) { }
void __tsan_init(void) { }

/*
 * The next access, from `i`, that another CPU's could come before without a stop; -1 if there is none. The word is
 * used by several calls and written. If code on one CPU alone uses it, or the access reads what that CPU alone writes,
 * it must be interruptible there. If it is used under a lock only, the lock has the stop.
 */
EXPORTED int kernel_unstopped(int i)
{
	for (; i < placed; i++) {
		unsigned long byte = places[i].byte;
		if (!bytes[byte].written || !(bytes[byte].calls & (bytes[byte].calls - 1)))
			continue;
		if (!(bytes[byte].on & (bytes[byte].on - 1)) && !places[i].interrupts)
			continue;
		if (!places[i].writes && !places[i].interrupts && bytes[byte].written == 1u << places[i].on)
			continue;
		if (places[i].locked && !bytes[byte].unlocked)
			continue;
		return i;
	}
	return -1;
}
EXPORTED unsigned long kernel_unstopped_code(int i) { return places[i].code; }
EXPORTED int kernel_unstopped_writes(int i) { return places[i].writes; }
