/* mm_struct and what else the text looks into, with the tree's own mm_context_t. */
struct mm_struct {
	mm_context_t context;
	pgd_t *pgd;
	struct cpumask cpu_bitmap;
	atomic_t tlb_flush_pending;
	atomic_t tlb_flush_batched;
	int number;
};
struct vm_area_struct {
	struct mm_struct *vm_mm;
	unsigned long vm_flags, vm_start, vm_end;
};
struct thread_info { unsigned long flags; };
struct callback_head { void (*func)(struct callback_head *); };
struct rcu_head { struct rcu_head *next; void (*func)(struct rcu_head *); };
struct list_head { struct list_head *next, *prev; };
struct task_struct {
	int pid;
	struct mm_struct *mm, *active_mm;
	struct thread_info thread_info;
	struct callback_head l1d_flush_kill;
};
#define LIST_HEAD_INIT(name) { &(name), &(name) }
#define LIST_HEAD(name) struct list_head name = LIST_HEAD_INIT(name)
extern struct task_struct kernel_task;
#define current (&kernel_task)
extern struct mm_struct init_mm;
struct cpuinfo_x86 { bool smt_active; };
DECLARE_PER_CPU(struct cpuinfo_x86, cpu_info);
#define mm_cpumask(mm) (&(mm)->cpu_bitmap)
static __always_inline void inc_tlb_flush_pending(struct mm_struct *mm) { atomic_inc(&mm->tlb_flush_pending); }
static __always_inline void dec_tlb_flush_pending(struct mm_struct *mm) { atomic_dec(&mm->tlb_flush_pending); }
static __always_inline bool mm_tlb_flush_nested(struct mm_struct *mm) { return atomic_read(&mm->tlb_flush_pending) > 1; }
static __always_inline bool mm_tlb_flush_pending(struct mm_struct *mm) { return atomic_read(&mm->tlb_flush_pending); }
#define mm_lam_cr3_mask(mm) 0UL
#define mm_untag_mask(mm) 0UL
void switch_mm(struct mm_struct *before, struct mm_struct *next, struct task_struct *task);
void tlb_gather_mmu(struct mmu_gather *gather, struct mm_struct *mm);
void tlb_finish_mmu(struct mmu_gather *gather);
void tlb_remove_table(struct mmu_gather *gather, void *table);
struct mm_struct *use_temporary_mm(struct mm_struct *temporary);
void unuse_temporary_mm(struct mm_struct *before);
void switch_mm_irqs_off(struct mm_struct *before, struct mm_struct *next, struct task_struct *task);

/* Pages: one for each frame of the simulated machine. */
struct page { unsigned long frame; };
struct folio { struct page page; };
#define page_folio(page) ((struct folio *)(page))
struct encoded_page;
#define ENCODED_PAGE_BITS 3ul
#define ENCODED_PAGE_BIT_DELAY_RMAP 1ul
#define ENCODED_PAGE_BIT_NR_PAGES_NEXT 2ul
#define encode_page(page, flags) ((struct encoded_page *)((flags) | (unsigned long)(page)))
#define encoded_page_flags(encoded) (ENCODED_PAGE_BITS & (unsigned long)(encoded))
#define encoded_page_ptr(encoded) ((struct page *)(~ENCODED_PAGE_BITS & (unsigned long)(encoded)))
#define encode_nr_pages(count) ((struct encoded_page *)((unsigned long)(count) << 2))
#define encoded_nr_pages(encoded) (((unsigned long)(encoded)) >> 2)
#define GFP_NOWAIT 0
#define GFP_ATOMIC 0
#define __GFP_NOWARN 0
void *kernel_page(void);
void kernel_put_page(void *page);
#define __get_free_pages(flags, order) kernel_page()
#define __get_free_page(flags) kernel_page()
#define free_pages(page, order) kernel_put_page((void *)(page))
#define free_page(page) kernel_put_page((void *)(page))
void kernel_free_table(void *table);
#define free_page_and_swap_cache(page) kernel_free_table(page)
#define pagetable_dtor_free(table) kernel_free_table(table)
#define pagetable_free(table) kernel_free_table(table)
#define free_pages_and_swap_cache(pages, count) kernel_free_pages((void **)(pages), count)
void kernel_free_pages(void **pages, int count);
#define page_poisoning_enabled_static() 0
#define want_init_on_free() 0
#define folio_remove_rmap_ptes(folio, page, count, vma) ((void)0)
#define cond_resched() ((void)0)
#define kmsan_unpoison_memory(address, size) ((void)0)
void call_rcu(struct rcu_head *head, void (*function)(struct rcu_head *));
void synchronize_rcu(void);
#define VM_EXEC 0x4
#define VM_PFNMAP 0x400
#define VM_HUGETLB 0x400000
#define VM_MIXEDMAP 0x10000000
#define is_vm_hugetlb_page(vma) 0
#define huge_page_shift(hstate) PMD_SHIFT
#define huge_page_size(hstate) PMD_SIZE
#define hstate_vma(vma) 0
#define flush_cache_range(vma, start, end) ((void)0)
