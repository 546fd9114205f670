/*
 * Every access of the text to its state, as the compiler's -fsanitize=thread reports it. Which accesses to what CPUs
 * share have no stop before them? (One stop is enough for a read and a write of the same word.) And what has a call
 * read so far, which decides about its further course?
 */
#define EXPORTED __attribute__((visibility("default")))
#define OUTSIDE __attribute__((section("outside")))
#define WORDS 8192
#define PLACES 1024
extern char __start_arena[], __stop_arena[];
extern const char __ehdr_start[];
int kernel_flow(void);
extern int kernel_fresh;
/* By word of the block: the calls' CPUs that have read and written it. */
OUTSIDE static unsigned char readers[WORDS] = { 0 }, writers[WORDS] = { 0 };
/* The accesses without a stop before them: word and code. */
OUTSIDE static struct { unsigned int word, writes; unsigned long code; } places[PLACES] = { { 0 } };
OUTSIDE static int placed = 0;
OUTSIDE static unsigned long last = 0, last_code = 0;
OUTSIDE static int last_flow = -1;

static void accessed(void *address, int writes, unsigned long code)
{
	int flow = kernel_flow();
	unsigned long word = ((char *)address - __start_arena) >> 3;
	if (flow < 0 || (char *)address < __start_arena || (char *)address >= __stop_arena || word >= WORDS)
		return;
	(writes ? writers : readers)[word] |= 1u << flow;
	if (!kernel_fresh && !(word == last && flow == last_flow)) {
		int i = 0;
		while (i < placed && (places[i].word != word || places[i].code != code))
			i++;
		if (i == placed && placed < PLACES) {
			places[placed].word = word;
			places[placed].writes = writes;
			places[placed++].code = code;
		}
	}
	kernel_fresh = 0;
	last = word;
	last_flow = flow;
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

/* The next access, from `i`, to a word that several CPUs use and one writes; -1 if there is none. */
EXPORTED int kernel_unstopped(int i)
{
	for (; i < placed; i++) {
		unsigned int users = readers[places[i].word] | writers[places[i].word];
		if (writers[places[i].word] && users & (users - 1))
			return i;
	}
	return -1;
}
EXPORTED unsigned long kernel_unstopped_code(int i) { return places[i].code; }
EXPORTED unsigned int kernel_unstopped_word(int i) { return places[i].word; }
EXPORTED int kernel_unstopped_writes(int i) { return places[i].writes; }
