/*
 * The smallest scope of `shootdown prove` as a Promela model: two CPUs, one page of private memory that nothing maps
 * yet, and OPS operations of read, write, exec and mprotect to none, r, rw, rx and rwx.
 *
 * It is written beside the Python model, from docs/correctness.md and docs/linux-tlb.md, so that two tools with nothing
 * in common decide the same question. A step here is a step there. What cannot differ in this scope is left out:
 * page tables are never freed; an entry with RW is always dirty; no two flushes are in flight at once (mprotect has
 * mmap_lock for writing, a copy-on-write break has the page-table lock), so a CPU is behind by one flush at most.
 *
 * The rule that is broken is the digit in the failed assertion: broken != 1 (C1), 2 (C2), 6 (C6).
 */

#ifndef OPS
#define OPS 2
#endif

#define READ 1
#define WRITE 2
#define EXEC 4

/* Bits of a page-table entry and of a TLB entry. OWN is the frame: the page's own one, else the zero page. */
#define PRESENT 1
#define RW 2
#define NX 4
#define OWN 8
#define PROTNONE 16

/* Which changes need a flush: fuzz's policies of the same names (optimized/rules.py). */
#if defined(ALWAYS)
#define NEEDS_FLUSH(old, new) (1)
#elif defined(V1)
#define NEEDS_FLUSH(old, new) (((old) ^ (new)) & (((old) & RW) | ((new) & NX) | PRESENT))
#elif defined(LINUX)
#define NEEDS_FLUSH(old, new) (((old) & PRESENT) && (((old) ^ (new)) & (RW | NX | PRESENT)))
#elif defined(SKIP_WRITE_PROTECT)
#define NEEDS_FLUSH(old, new) (((old) & PRESENT) && (((old) ^ (new)) & (NX | PRESENT)))
#else
#error "name a policy: -DALWAYS, -DV1, -DLINUX or -DSKIP_WRITE_PROTECT"
#endif

byte started;			/* operations so far */
byte in_flight;
byte vma = READ | WRITE;
byte readers;			/* mmap_lock */
bool writer;
bool promotes;			/* the writer has allowed fetches */
bool locked;			/* the page-table lock */
bool table;			/* there is a page table */
byte pte;
byte tlb[2];			/* 0 is no entry */
byte broken;

/*
 * The history of the page. A version is a frame and the kinds of access that the entry granted; here it is a set of
 * pairs, the kinds on the zero page in bits 0 to 2 and those on the page's own frame in bits 3 to 5.
 * `explained` holds what some version grants that no returned operation has revoked, `since[c]` what versions grant that
 * are not older than the change of the operation on CPU c, which denies the kinds `deny[c]` to older ones.
 */
byte explained;
byte since[2];
byte deny[2];

#define ON_FRAME(e) (3 * (((e) & OWN) != 0))
#define KINDS(e) (READ | ((e) & RW) | EXEC * !((e) & NX))
#define GRANTS(e) ((((e) & PRESENT) * KINDS(e)) << ON_FRAME(e))
#define RIGHTS(v) ((v) | READ * ((v) != 0))
#define PAGE_PROT(v) (((v) != 0) * (PRESENT | NX * !((v) & EXEC)) | ((v) == 0) * PROTNONE)

inline set_pte(entry)
{
	pte = entry;
	explained = explained | GRANTS(pte);
	since[0] = since[0] | (deny[0] != 0) * GRANTS(pte);
	since[1] = since[1] | (deny[1] != 0) * GRANTS(pte)
}

inline visit(kinds)
{
	deny[me] = kinds;
	since[me] = ((kinds) != 0) * GRANTS(pte)
}

inline close()
{
	explained = explained & (since[me] | (63 - 9 * deny[me]));
	deny[me] = 0;
	since[me] = 0
}

/* C1: the translation that an access uses is explained by a version. */
inline judge_access(entry, kind)
{
	if
	:: !((kind << ON_FRAME(entry)) & explained) -> broken = 1
	:: else
	fi;
	assert(broken != 1)
}

/*
 * C2: a fault reaches the program only if the region denies the access; or, for a fetch, if it did when the hardware
 * raised the fault, or until the mprotect that was in flight then.
 */
inline judge_denial(kind)
{
	if
	:: (RIGHTS(vma) & kind) && !(hit && excused) -> broken = 2
	:: else
	fi;
	assert(broken != 2)
}

/* C6: with nothing in flight no TLB entry grants more than the page table. */
inline end_operation()
{
	in_flight--;
	if
	:: !in_flight && ((GRANTS(tlb[0]) | GRANTS(tlb[1])) & (63 - GRANTS(pte))) -> broken = 6
	:: else
	fi;
	assert(broken != 6)
}

/* What Linux's fault handler takes for a denial: a fetch counts as a load, and what hit an entry is denied. */
#define DENIES(kind, hit) (((kind) != WRITE && ((hit) || !vma)) || ((kind) == WRITE && !(vma & WRITE)))
#define EXCUSED(kind) ((kind) == EXEC && (!(vma & EXEC) || promotes))

/* A user access: one step if the hardware translates it. */
inline translate()
{
	if
	:: tlb[me] && (kind & KINDS(tlb[me])) ->
		judge_access(tlb[me], kind)
	:: tlb[me] && !(kind & KINDS(tlb[me])) ->
		tlb[me] = 0;
		hit = 1;
		excused = EXCUSED(kind);
		goto fault
	:: !tlb[me] && (pte & PRESENT) && (kind & KINDS(pte)) ->
		tlb[me] = pte;
		judge_access(pte, kind)
	:: else ->
		hit = pte & PRESENT;
		excused = EXCUSED(kind);
		goto fault
	fi;
	kind = 0;
	end_operation()
}

active [2] proctype cpu()
{
	byte me = _pid;
	byte kind;		/* of the access; the kinds that mprotect denies */
	byte rights;
	byte old;
	bool hit;		/* the fault's error code: the entry was there and denied the access */
	bool excused;		/* the fault may be delivered whatever the region has become */
	bool record;		/* the gather has something to flush */

	/* An operation that starts has taken its first step; one whose first step is blocked does not start. */
end:	if
	:: atomic { started < OPS ->
		started++;
		in_flight++;
		if
		:: kind = READ
		:: kind = WRITE
		:: kind = EXEC
		fi;
		translate();
		goto end
	   }
	:: atomic { started < OPS && !writer && !readers ->
		started++;
		in_flight++;
		writer = 1;
		if
		:: rights = 0
		:: rights = READ
		:: rights = READ | WRITE
		:: rights = READ | EXEC
		:: rights = READ | WRITE | EXEC
		fi;
		if
		:: vma == rights ->
			goto mprotect_return
		:: else ->
			kind = RIGHTS(vma) & (7 - RIGHTS(rights));
			promotes = !(vma & EXEC) && (rights & EXEC);
			vma = rights
		fi
	   }
	   goto change
	fi;

access:	atomic { translate(); goto end }

fault:	/* mmap_read_lock, find_vma */
	atomic {
		!writer ->
		if
		:: DENIES(kind, hit) ->
			judge_denial(kind);
			kind = 0;
			hit = 0;
			excused = 0;
			close();
			end_operation();
			goto end
		:: else ->
			hit = 0;
			excused = 0;
			readers++
		fi;
		if
		:: table && !pte -> goto missing
		:: table && pte -> old = pte; goto present
		:: else
		fi
	}
	table = 1;			/* pte_alloc */
	atomic {			/* handle_mm_fault */
		if
		:: !pte -> goto missing
		:: else -> old = pte; goto present
		fi
	}

missing:/* do_anonymous_page */
	atomic {
		!locked ->
		if
		:: pte
		:: !pte && kind == WRITE -> set_pte(PAGE_PROT(vma) | RW | OWN)
		:: else -> set_pte(PAGE_PROT(vma))
		fi;
		goto fault_done
	}

present:/* handle_pte_fault: pte_lock, then look whether the entry is what was seen */
	atomic { !locked -> locked = 1 }
	atomic {
		if
		:: pte == old && kind == WRITE && !(pte & RW)
		:: else -> goto fault_unlock
		fi
	}
	skip;				/* do_wp_page */
	atomic {			/* wp_page_reuse, or a copy of the zero page */
		if
		:: pte & OWN -> set_pte(pte | RW); goto fault_unlock
		:: else
		fi
	}
	locked = 0;
	skip;				/* cow_user_page */
	atomic { !locked -> locked = 1 }
	atomic {			/* ptep_clear_flush */
		if
		:: pte != old -> goto fault_unlock
		:: else -> set_pte(0)
		fi
	}
	skip;				/* flush_tlb_mm_range */
	tlb[me] = 0;			/* flush_tlb_func */
	tlb[1 - me] = 0;
	atomic {			/* set_pte_at */
		set_pte(PAGE_PROT(vma) | RW | OWN);
		visit(7)
	}
fault_unlock:
	locked = 0;
fault_done:
	atomic { readers--; old = 0; close() }
	goto access;

change:	skip;				/* tlb_gather_mmu */
	atomic {			/* change_pmd_range */
		if
		:: table
		:: else -> visit(kind); goto mprotect_return
		fi
	}
	atomic { !locked -> locked = 1 }
	atomic {			/* ptep_modify_prot_start */
		if
		:: pte -> old = pte; set_pte(0)
		:: else -> visit(kind); goto unlock
		fi
	}
	atomic {			/* ptep_modify_prot_commit */
		set_pte(PAGE_PROT(vma) | (old & OWN) | RW * ((vma & WRITE) && (old & OWN)));
		visit(kind);
		record = (NEEDS_FLUSH(old, pte)) != 0;
		old = 0
	}
unlock:	locked = 0;
	if				/* tlb_finish_mmu */
	:: record ->
		record = 0;
		tlb[me] = 0;
		tlb[1 - me] = 0
	:: else
	fi;
	skip;				/* dec_tlb_flush_pending */
mprotect_return:
	atomic {
		writer = 0;
		promotes = 0;
		kind = 0;
		rights = 0;
		close();
		end_operation();
		goto end
	}
}

/* What the hardware may do at any time. */
active proctype hardware()
{
end:	do
	:: atomic { !tlb[0] && (pte & PRESENT) -> tlb[0] = pte }
	:: atomic { !tlb[1] && (pte & PRESENT) -> tlb[1] = pte }
	:: atomic { tlb[0] -> tlb[0] = 0 }
	:: atomic { tlb[1] -> tlb[1] = 0 }
	od
}
