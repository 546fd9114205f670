/*
 * Executes the user-level operations of scenarios on the Linux that it runs on, and tells what each access showed.
 *
 * Standard input has programs, standard output their results, both as the structs below in the byte order of the
 * machine; conform/live/driver.py is the other side. Nothing machine-wide is changed.
 *
 * The first process is the controller. Each address space of a program is a process of its own, with one thread pinned
 * to each CPU; the first of them is forked by the controller, the others are made by the program's own forks. The
 * program lies in shared memory. Exactly one thread has the baton: it executes commands as long as they are its own,
 * and then wakes the thread of the next one. So a TLB keeps what its thread has used, as on an idle machine.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <linux/futex.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif

enum { PAGES = 8, SPACES = 3, MAX_CPUS = 8, MAX_COMMANDS = 4096, OUTCOMES = 8, WARM = 8 };

/* The window under test, where no library maps anything; its middle is a boundary between two page tables. */
static const uintptr_t MIDDLE = 0x100000000000;
static const uintptr_t PMD_SIZE = 2UL << 20;

enum operation {
	RESET, READ, WRITE, EXEC, COPY, MMAP, MPROTECT, MUNMAP, DONTNEED, FREE, COLD, COLLAPSE, MREMAP, REGISTER, PROTECT,
	RESOLVE, FORK, EXIT, PUNCH, WRITEBACK, CLEAR_REFS, NOTHING, HAMMER, SHOWN, OPERATIONS
};
enum mapping { PRIVATE, SHARED, HUGE, ON_FILE };
enum status { DONE, MAPERR, ACCERR, PKUERR, TRAPPED, OTHER_SIGNAL, FAILED };
/* When an access ran: entirely before the operation began, partly during it, or entirely after its return. */
enum phase { BEFORE = 1, MEANWHILE = 2, AFTER = 4 };
enum feature {
	HAS_PAGEMAP = 1, HAS_UFFD = 2, HAS_UFFD_SHMEM = 4, HAS_FILE = 8, HAS_COUNTERS = 16, HAS_EXEC = 32
};
/* The counters of the tracepoint tlb:tlb_flush: own CPU, interrupts sent, and either of them for a flush of everything. */
enum counter { LOCAL, SENT, FULL, COUNTERS };

struct command {
	uint8_t operation, space, cpu, page, count, argument, target;
	/* Another thread repeats an access during this command; the value of the result is what was flushed. */
	uint8_t races, counts, unused[7];
	uint64_t value;
};
struct result {
	/* `present`, `protected`: one bit for each page; for SHOWN, the phases, and whether outcomes were dropped. */
	uint8_t status, present, protected, unused;
	int32_t error;
	uint64_t value;
};
struct request {
	uint32_t commands, large;
};
struct hello {
	uint32_t version, cpus, features, error;
};
/* How many commands of a program were executed, and why not all of them; the results follow. */
struct ended {
	uint32_t commands;
	char why[124];
};
/* The first letters of "shootdown", and the version of the protocol on the pipe. */
static const uint32_t VERSION = 0x73680001;

/*
 * A thread that repeats one access, without the baton, until another thread stops it. `moment` is 0 before the operation
 * that it races with, 1 during it, and 2 after it.
 */
struct hammer {
	uint32_t moment, active, stop, outcomes, overflow;
	uint64_t accesses;
	struct result outcome[OUTCOMES];
};

struct shared {
	uint32_t turn[SPACES][MAX_CPUS];
	uint32_t finished, ready, at, commands, large, features, cpus, uffd_error, tracepoint;
	int cpu_of[MAX_CPUS];
	char why[124];
	pid_t controller, process[SPACES];
	struct hammer hammer;
	struct command command[MAX_COMMANDS];
	struct result result[MAX_COMMANDS];
};

static struct shared *shared;
static uintptr_t base, page_size;
static int uffd = -1, pagemap = -1, object = -1, file = -1, controller = -1, space;

struct thread {
	int counter[COUNTERS];
	sigjmp_buf back;
	volatile int status;
	uintptr_t fetched;
};
static __thread struct thread *self;

static void die(const char *what)
{
	snprintf(shared->why, sizeof(shared->why), "%s: %s", what, strerror(errno));
	fprintf(stderr, "%s\n", shared->why);
	_exit(3);
}

/* The baton. */

static void wake(uint32_t *word)
{
	__atomic_store_n(word, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Return whether the controller is gone; if its parent has not waited for it, its number still exists. */
static int is_orphan(void)
{
	struct pollfd end = { .fd = controller, .events = POLLIN };

	if (controller >= 0)
		return poll(&end, 1, 0) > 0;
	return kill(shared->controller, 0) && errno == ESRCH;
}

/* Wait until another thread wakes the word; a process whose controller is gone ends here. */
static void await(uint32_t *word)
{
	struct timespec second = { 1, 0 };

	while (!__atomic_exchange_n(word, 0, __ATOMIC_ACQUIRE)) {
		syscall(SYS_futex, word, FUTEX_WAIT, 0, &second, NULL, 0);
		if (is_orphan())
			_exit(0);
	}
}

static void hand_over(void)
{
	uint32_t at = shared->at;

	if (at < shared->commands)
		wake(&shared->turn[shared->command[at].space][shared->command[at].cpu]);
	else
		wake(&shared->finished);
}

/* Accesses. */

static void on_signal(int number, siginfo_t *info, void *context)
{
	uintptr_t address = (uintptr_t)info->si_addr;
	int status = OTHER_SIGNAL;

	(void)context;
	if (!self)
		_exit(4);
	if (number == SIGBUS)
		status = info->si_code == BUS_ADRERR ? TRAPPED : OTHER_SIGNAL;
	else if (number == SIGSEGV && self->fetched && address < 4096)
		/* The instruction was fetched: it is "add %al,(%rax)", and RAX is no address. */
		status = DONE;
	else if (number == SIGSEGV)
		status = info->si_code == SEGV_MAPERR ? MAPERR : info->si_code == SEGV_ACCERR ? ACCERR :
			 info->si_code == SEGV_PKUERR ? PKUERR : OTHER_SIGNAL;
	self->status = status;
	siglongjmp(self->back, 1);
}

static uintptr_t address_of(unsigned page)
{
	return base + page * page_size;
}

static void load(struct result *result, unsigned page)
{
	self->fetched = 0;
	if (!sigsetjmp(self->back, 0))
		result->value = *(volatile uint64_t *)address_of(page);
	else
		result->status = self->status;
}

static void store(struct result *result, unsigned page, uint64_t value)
{
	self->fetched = 0;
	if (!sigsetjmp(self->back, 0))
		*(volatile uint64_t *)address_of(page) = value;
	else
		result->status = self->status;
	result->value = value;
}

/* Run what lies beyond the word that stores change: zeros, in every page. */
static void fetch(struct result *result, unsigned page)
{
	self->fetched = address_of(page) + 64;
	if (!sigsetjmp(self->back, 0))
		__asm__ volatile("jmp *%0" : : "r"(self->fetched), "a"(0x10UL) : "memory");
	else
		result->status = self->status;
	self->fetched = 0;
}

/* One instruction that loads from one page and stores to another: if either faults, nothing is done. */
static void copy(struct result *result, unsigned page, unsigned target)
{
	self->fetched = 0;
	if (!sigsetjmp(self->back, 0)) {
		uintptr_t from = address_of(page), to = address_of(target);

		__asm__ volatile("movsq" : "+S"(from), "+D"(to) : : "memory");
		result->value = 0;
	} else {
		result->status = self->status;
	}
}

/* Flushes. */

/*
 * Return the number of the tracepoint, or 0 if there is none. Where tracefs is not mounted, it is mounted in a mount
 * namespace of the driver's own: other processes do not see it, and it disappears with the driver.
 */
static uint32_t find_tracepoint(const char *folder)
{
	char path[PATH_MAX];
	unsigned id = 0;
	FILE *in = fopen("/sys/kernel/tracing/events/tlb/tlb_flush/id", "re");

	if (!in && !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	    !mount("tracefs", folder, "tracefs", 0, NULL)) {
		snprintf(path, sizeof(path), "%s/events/tlb/tlb_flush/id", folder);
		in = fopen(path, "re");
	}
	if (in) {
		if (fscanf(in, "%u", &id) != 1)
			id = 0;
		fclose(in);
	}
	return id;
}

/* Count the flushes of the calling thread, from here on; the counters go with their descriptors. */
static void open_counters(struct thread *thread)
{
	static const char *const filter[COUNTERS] = {
		[LOCAL] = "reason == 3",
		[SENT] = "reason == 4",
		[FULL] = "reason == 3 && pages == 18446744073709551615",
	};
	struct perf_event_attr attributes;
	int i;

	for (i = 0; i < COUNTERS; i++) {
		thread->counter[i] = -1;
		if (!shared->tracepoint)
			continue;
		memset(&attributes, 0, sizeof(attributes));
		attributes.type = PERF_TYPE_TRACEPOINT;
		attributes.size = sizeof(attributes);
		attributes.config = shared->tracepoint;
		thread->counter[i] = syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
		/* A counter that cannot be opened is -1, and so are all after it. */
		if (thread->counter[i] < 0 || ioctl(thread->counter[i], PERF_EVENT_IOC_SET_FILTER, filter[i])) {
			shared->tracepoint = 0;
			return;
		}
	}
	if (shared->tracepoint)
		shared->features |= HAS_COUNTERS;
}

/* Return the counters, 16 bits each. */
static uint64_t counted(void)
{
	uint64_t all = 0, one;
	int i;

	for (i = 0; i < COUNTERS; i++) {
		if (self->counter[i] < 0 || read(self->counter[i], &one, sizeof(one)) != sizeof(one))
			die("a counter of flushes");
		all |= (one & 0xffff) << (16 * i);
	}
	return all;
}

/*
 * Write to the places on this thread's stack and in its own data where an operation is about to write: after a fork the
 * first store to each page causes a copy and a flush, which are not the operation's.
 */
static __attribute__((noinline)) void rehearse(void)
{
	volatile char stack[8192];
	size_t at;

	for (at = 0; at < sizeof(stack); at += 512)
		stack[at] = 0;
	self->fetched = 0;
	if (sigsetjmp(self->back, 0))
		return;
	(void)counted();
	errno = 0;
}

/* Races. */

static void note(struct hammer *hammer, const struct result *seen, int phase)
{
	uint32_t i;

	for (i = 0; i < hammer->outcomes; i++) {
		struct result *known = &hammer->outcome[i];

		if (known->status == seen->status && known->value == seen->value) {
			known->present |= phase;
			return;
		}
	}
	if (hammer->outcomes == OUTCOMES) {
		hammer->overflow = 1;
		return;
	}
	hammer->outcome[i] = *seen;
	hammer->outcome[i].present = phase;
	hammer->outcomes++;
}

/* Repeat the access whose operation is the argument of the command, and keep what each of them shows. */
static void hammer_on(const struct command *c)
{
	struct hammer *hammer = &shared->hammer;

	while (!__atomic_load_n(&hammer->stop, __ATOMIC_ACQUIRE)) {
		struct result seen = { 0 };
		uint32_t first = __atomic_load_n(&hammer->moment, __ATOMIC_SEQ_CST), last;

		switch (c->argument) {
		case READ: load(&seen, c->page); break;
		case WRITE: store(&seen, c->page, c->value); break;
		default: fetch(&seen, c->page);
		}
		last = __atomic_load_n(&hammer->moment, __ATOMIC_SEQ_CST);
		if (seen.status != DONE || c->argument != READ)
			seen.value = 0;
		note(hammer, &seen, first == 2 ? AFTER : last == 0 ? BEFORE : MEANWHILE);
		__atomic_fetch_add(&hammer->accesses, 1, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(&hammer->active, 0, __ATOMIC_RELEASE);
}

/* Wait until the access has been repeated a few times more, so that what it uses is cached. */
static void let_repeat(void)
{
	uint64_t seen = __atomic_load_n(&shared->hammer.accesses, __ATOMIC_SEQ_CST);

	while (__atomic_load_n(&shared->hammer.accesses, __ATOMIC_SEQ_CST) < seen + WARM)
		if (shared->cpus == 1)
			sched_yield();
}

/* Stop the other thread, and return one of the different outcomes that it has seen, by its number. */
static void shown(struct result *result, const struct command *c)
{
	struct hammer *hammer = &shared->hammer;

	__atomic_store_n(&hammer->stop, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&hammer->active, __ATOMIC_ACQUIRE))
		sched_yield();
	if (c->argument < hammer->outcomes)
		*result = hammer->outcome[c->argument];
	result->protected = hammer->overflow;
	result->error = hammer->accesses > INT_MAX ? INT_MAX : hammer->accesses;
}

/* System calls. */

static void call(struct result *result, long returned)
{
	if (returned == -1) {
		result->status = FAILED;
		result->error = errno;
	}
}

static int protection(unsigned rights)
{
	return (rights & 1 ? PROT_READ : 0) | (rights & 2 ? PROT_WRITE : 0) | (rights & 4 ? PROT_EXEC : 0);
}

static void map(struct result *result, const struct command *c)
{
	size_t length = c->count * page_size;
	unsigned kind = c->argument >> 3;
	int flags = MAP_FIXED_NOREPLACE | MAP_NORESERVE, fd = -1;

	if (kind == SHARED || kind == ON_FILE) {
		flags |= MAP_SHARED;
		fd = kind == SHARED ? object : file;
	} else {
		flags |= MAP_PRIVATE | MAP_ANONYMOUS;
	}
	void *at = mmap((void *)address_of(c->page), length, protection(c->argument & 7), flags, fd,
			fd < 0 ? 0 : (off_t)(c->page * page_size));
	if (at == MAP_FAILED)
		call(result, -1);
	else
		/* Refused by a kernel without huge pages, which then has none of any size. */
		madvise(at, length, kind == HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

static void open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	uint64_t wanted = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_SIGBUS;
	int attempt;

	if (uffd >= 0)
		close(uffd);
	for (attempt = 0; attempt < 2; attempt++) {
		uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
		if (uffd < 0 && errno == EINVAL)
			uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
		if (uffd < 0)
			break;
		api.api = UFFD_API;
		api.features = wanted | (attempt ? 0 : UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
		if (!ioctl(uffd, UFFDIO_API, &api)) {
			shared->features |= HAS_UFFD | (attempt ? 0 : HAS_UFFD_SHMEM);
			return;
		}
		shared->uffd_error = errno;
		close(uffd);
		uffd = -1;
	}
	if (!shared->uffd_error)
		shared->uffd_error = errno;
}

static void uffd_register(struct result *result, const struct command *c)
{
	struct uffdio_register registration = {
		.range = { address_of(c->page), c->count * page_size },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	call(result, ioctl(uffd, UFFDIO_REGISTER, &registration));
}

static void uffd_protect(struct result *result, const struct command *c)
{
	struct uffdio_writeprotect change = {
		.range = { address_of(c->page), c->count * page_size },
		.mode = c->operation == PROTECT ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	call(result, ioctl(uffd, UFFDIO_WRITEPROTECT, &change));
}

static void clear_refs(struct result *result)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	call(result, fd < 0 ? -1 : write(fd, "4", 1));
	if (fd >= 0)
		close(fd);
}

/* What the page tables of this process have for each page, according to /proc/self/pagemap. */
static void look(struct result *result)
{
	uint64_t entries[PAGES];
	unsigned page;

	if (pagemap < 0 || shared->large)
		return;
	if (pread(pagemap, entries, sizeof(entries), base / 4096 * 8) != sizeof(entries))
		die("/proc/self/pagemap");
	for (page = 0; page < PAGES; page++) {
		result->present |= (entries[page] >> 63) << page;
		result->protected |= (entries[page] >> 57 & 1) << page;
	}
}

/* Processes and threads. */

static void *worker(void *argument);

static void enter_process(int number)
{
	space = number;
	shared->process[number] = getpid();
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap >= 0)
		shared->features |= HAS_PAGEMAP;
	open_uffd();
}

static void pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(shared->cpu_of[cpu], &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

static void start_threads(int except)
{
	unsigned cpu;

	for (cpu = 0; cpu < shared->cpus; cpu++) {
		pthread_t thread;

		if ((int)cpu == except)
			continue;
		if (pthread_create(&thread, NULL, worker, (void *)(uintptr_t)cpu))
			die("pthread_create");
		pthread_detach(thread);
	}
}

static void fork_space(struct result *result, const struct command *c)
{
	pid_t child = fork();

	if (child) {
		call(result, child);
		if (child > 0)
			await(&shared->ready);
		else
			/* What comes next may be for the child: the program ends here. */
			shared->commands = shared->at + 1;
		return;
	}
	if (pagemap >= 0)
		close(pagemap);
	enter_process(c->target);
	start_threads(c->cpu);
	wake(&shared->ready);
	worker((void *)(uintptr_t)(c->cpu | 0x100));
}

static void reset(struct result *result)
{
	base = MIDDLE - (shared->large ? 2 * PMD_SIZE : PAGES / 2 * 4096);
	page_size = shared->large ? PMD_SIZE / 4 : 4096;
	munmap((void *)(MIDDLE - 2 * PMD_SIZE), 4 * PMD_SIZE);
	if (object >= 0)
		close(object);
	object = syscall(SYS_memfd_create, "shootdown", MFD_CLOEXEC | MFD_EXEC);
	if (object < 0)
		object = syscall(SYS_memfd_create, "shootdown", MFD_CLOEXEC);
	call(result, object < 0 ? -1 : ftruncate(object, PAGES * page_size));
	if (file >= 0) {
		call(result, ftruncate(file, 0));
		call(result, ftruncate(file, PAGES * page_size));
	}
}

static void execute(const struct command *c, struct result *result)
{
	void *at = (void *)address_of(c->page);
	size_t length = c->count * page_size;

	switch (c->operation) {
	case RESET: reset(result); break;
	case READ: load(result, c->page); break;
	case WRITE: store(result, c->page, c->value); break;
	case EXEC: fetch(result, c->page); break;
	case COPY: copy(result, c->page, c->target); break;
	case MMAP: map(result, c); break;
	case MPROTECT: call(result, mprotect(at, length, protection(c->argument))); break;
	case MUNMAP: call(result, munmap(at, length)); break;
	case DONTNEED: call(result, madvise(at, length, MADV_DONTNEED)); break;
	case FREE: call(result, madvise(at, length, MADV_FREE)); break;
	case COLD: call(result, madvise(at, length, MADV_COLD)); break;
	case COLLAPSE:
		call(result, madvise((void *)(address_of(c->page) & ~(PMD_SIZE - 1)), PMD_SIZE, MADV_COLLAPSE));
		break;
	case MREMAP:
		call(result, (long)mremap(at, length, length, MREMAP_MAYMOVE | MREMAP_FIXED,
					  (void *)address_of(c->target)));
		break;
	case REGISTER: uffd_register(result, c); break;
	case PROTECT:
	case RESOLVE: uffd_protect(result, c); break;
	case FORK: fork_space(result, c); break;
	case PUNCH:
		call(result, fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, c->page * page_size, page_size));
		break;
	case WRITEBACK:
		call(result, sync_file_range(file, c->page * page_size, page_size,
					     SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
					     SYNC_FILE_RANGE_WAIT_AFTER));
		break;
	case CLEAR_REFS: clear_refs(result); break;
	case NOTHING: break;
	case SHOWN: shown(result, c); break;
	default: result->status = FAILED; result->error = ENOSYS;
	}
}

static void *worker(void *argument)
{
	unsigned cpu = (uintptr_t)argument & 0xff;
	struct thread own;

	memset(&own, 0, sizeof(own));
	self = &own;
	pin(cpu);
	open_counters(self);
	/* A thread that a fork has made does not wait for the parent, which goes on. */
	for (;;) {
turn:
		await(&shared->turn[space][cpu]);
		for (;;) {
			uint32_t at = shared->at;
			struct command *c = &shared->command[at];
			struct result *result = &shared->result[at];

			if (at >= shared->commands || c->space != space || c->cpu != cpu)
				break;
			if (c->operation == EXIT) {
				shared->process[space] = 0;
				shared->at = at + 1;
				hand_over();
				_exit(0);
			}
			if (c->operation == HAMMER) {
				memset(&shared->hammer, 0, sizeof(shared->hammer));
				shared->hammer.active = 1;
				shared->at = at + 1;
				hand_over();
				hammer_on(c);
				goto turn;
			}
			if (c->races) {
				let_repeat();
				__atomic_store_n(&shared->hammer.moment, 1, __ATOMIC_SEQ_CST);
			}
			if (c->counts) {
				uint64_t before;

				rehearse();
				before = counted();
				execute(c, result);
				result->value = counted() - before;
			} else {
				execute(c, result);
			}
			if (c->races) {
				__atomic_store_n(&shared->hammer.moment, 2, __ATOMIC_SEQ_CST);
				let_repeat();
			} else if (c->operation != SHOWN) {
				look(result);
			}
			shared->at = at + 1;
		}
		hand_over();
	}
	return NULL;
}

/* The controller. */

static pid_t first;
static int nothing;

/* Wait until the first process has come up. */
static void await_first(void)
{
	struct timespec moment = { 0, 200000000 };

	while (!__atomic_exchange_n(&shared->ready, 0, __ATOMIC_ACQUIRE)) {
		syscall(SYS_futex, &shared->ready, FUTEX_WAIT, 0, &moment, NULL, 0);
		if (waitpid(first, NULL, WNOHANG) == first) {
			if (!shared->why[0])
				snprintf(shared->why, sizeof(shared->why), "its first process was killed");
			fprintf(stderr, "%s\n", shared->why);
			_exit(3);
		}
	}
}

/* Return whether memory can be made executable, which a hardened system refuses. */
static int may_execute(void)
{
	int both = PROT_READ | PROT_WRITE, all = both | PROT_EXEC, works;
	void *at = mmap(NULL, 4096, both, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return 0;
	works = !mprotect(at, 4096, all) && !mprotect(at, 4096, both) && !mprotect(at, 4096, all);
	munmap(at, 4096);
	if (works && file >= 0) {
		at = mmap(NULL, 4096, all, MAP_SHARED, file, 0);
		works = at != MAP_FAILED;
		if (works)
			munmap(at, 4096);
	}
	return works;
}

static void start_first(void)
{
	memset(shared->turn, 0, sizeof(shared->turn));
	memset(shared->process, 0, sizeof(shared->process));
	shared->ready = shared->finished = 0;
	first = fork();
	if (first < 0)
		die("fork");
	if (first)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The pipes are the controller's alone, so that its end is their end. */
	dup2(nothing, 0);
	dup2(nothing, 1);
	/* No process waits for the children of a program. */
	signal(SIGCHLD, SIG_IGN);
	enter_process(0);
	wake(&shared->ready);
	start_threads(0);
	worker((void *)0);
}

/*
 * Kill all that a program has made; the first process is kept if it is still address space 0 and `intact`.
 *
 * A process that is killed while it waits makes no further step, so nothing has to wait for its end.
 */
static void clear_away(int intact)
{
	int i, keep = intact && first > 0 && shared->process[0] == first;

	for (i = keep; i < SPACES; i++) {
		if (shared->process[i])
			kill(shared->process[i], SIGKILL);
		shared->process[i] = 0;
	}
	if (!keep && first > 0)
		kill(first, SIGKILL);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (!keep) {
		start_first();
		await_first();
	}
}

static int read_all(void *into, size_t length)
{
	size_t had = 0;

	while (had < length) {
		ssize_t got = read(0, (char *)into + had, length - had);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return 0;
		had += got;
	}
	return 1;
}

static void write_all(const void *from, size_t length)
{
	size_t put = 0;

	while (put < length) {
		ssize_t got = write(1, (const char *)from + put, length - put);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			_exit(0);
		put += got;
	}
}

/* Wait for the end of the program; return 0 if a process of it has died before. */
static int await_end(void)
{
	struct timespec moment = { 0, 200000000 };

	while (!__atomic_exchange_n(&shared->finished, 0, __ATOMIC_ACQUIRE)) {
		pid_t gone;
		int i;

		syscall(SYS_futex, &shared->finished, FUTEX_WAIT, 0, &moment, NULL, 0);
		while ((gone = waitpid(-1, NULL, WNOHANG)) > 0)
			if (gone == first)
				first = 0;
		for (i = 0; i < SPACES; i++)
			if (shared->process[i] && kill(shared->process[i], 0) && errno == ESRCH)
				return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct hello hello;
	struct request request;
	cpu_set_t set;
	int cpu;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	shared->controller = getpid();
	controller = syscall(SYS_pidfd_open, getpid(), 0);
	nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	sched_getaffinity(0, sizeof(set), &set);
	for (cpu = 0; cpu < CPU_SETSIZE && shared->cpus < MAX_CPUS; cpu++)
		if (CPU_ISSET(cpu, &set))
			shared->cpu_of[shared->cpus++] = cpu;
	/* A file to map, and an empty folder where tracefs may be mounted; both can be missing. */
	if (argc > 1) {
		file = open(argv[1], O_RDWR | O_CLOEXEC);
		if (file >= 0)
			shared->features |= HAS_FILE;
	}
	if (argc > 2)
		shared->tracepoint = find_tracepoint(argv[2]);
	if (shared->tracepoint) {
		struct thread probe;

		open_counters(&probe);
		for (cpu = 0; cpu < COUNTERS && probe.counter[cpu] >= 0; cpu++)
			close(probe.counter[cpu]);
	}
	if (may_execute())
		shared->features |= HAS_EXEC;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_DUMPABLE, 1);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	start_first();
	await_first();
	hello.version = VERSION;
	hello.cpus = shared->cpus;
	hello.features = shared->features;
	hello.error = shared->uffd_error;
	write_all(&hello, sizeof(hello));
	while (read_all(&request, sizeof(request))) {
		struct ended ended = { 0 };
		int intact;

		if (request.commands > MAX_COMMANDS || !request.commands)
			_exit(5);
		if (!read_all(shared->command, request.commands * sizeof(struct command)))
			break;
		memset(shared->result, 0, request.commands * sizeof(struct result));
		shared->commands = request.commands;
		shared->large = request.large;
		shared->at = 0;
		shared->why[0] = 0;
		hand_over();
		intact = await_end();
		ended.commands = intact ? shared->commands : shared->at;
		if (!intact && !shared->why[0])
			snprintf(shared->why, sizeof(shared->why), "a process of it was killed");
		memcpy(ended.why, shared->why, sizeof(ended.why));
		write_all(&ended, sizeof(ended));
		write_all(shared->result, request.commands * sizeof(struct result));
		clear_away(intact);
	}
	shared->process[0] = 0;
	for (cpu = 0; cpu < SPACES; cpu++)
		if (shared->process[cpu])
			kill(shared->process[cpu], SIGKILL);
	if (first > 0)
		kill(first, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	return 0;
}
