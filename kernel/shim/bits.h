/*
 * Entries of x86-64, for a file that has the rule's functions and not the tree around them. A tree's own definitions
 * stand in their place. Bits by SDM vol. 3A tables 4-15 to 4-20; the software bits as Linux uses them since 6.1.
 */
#define _AC(number, suffix) number##suffix
#define _AT(type, value) ((type)(value))
#define UL(number) (_AC(number, UL))
#define ULL(number) (_AC(number, ULL))
#define _UL(number) (_AC(number, UL))
#define _ULL(number) (_AC(number, ULL))
#define _BITUL(bit) (1UL << (bit))
#define _BITULL(bit) (1ULL << (bit))
#define BIT(bit) (1UL << (bit))
#define BIT_ULL(bit) (1ULL << (bit))
#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PMD_SHIFT 21
#define PAGE_MASK (~((1UL << PAGE_SHIFT) - 1))
#define PMD_MASK (~((1UL << PMD_SHIFT) - 1))
#define PMD_PAGE_SIZE (1UL << PMD_SHIFT)
#define PMD_PAGE_MASK PMD_MASK
#define PUD_SHIFT 30
#define PUD_PAGE_SIZE (1UL << PUD_SHIFT)
#define PUD_PAGE_MASK (~(PUD_PAGE_SIZE - 1))
#define __PHYSICAL_MASK_SHIFT 52
#define __PHYSICAL_MASK ((1UL << __PHYSICAL_MASK_SHIFT) - 1)
#define PHYSICAL_PAGE_MASK (__PHYSICAL_MASK & PAGE_MASK)
#define PHYSICAL_PMD_PAGE_MASK (__PHYSICAL_MASK & PMD_PAGE_MASK)
#define PHYSICAL_PUD_PAGE_MASK (__PHYSICAL_MASK & PUD_PAGE_MASK)
#define PTE_PFN_MASK 0x000ffffffffff000UL
#define PTE_FLAGS_MASK (~PTE_PFN_MASK)
#define _PAGE_PRESENT (1UL << 0)
#define _PAGE_RW (1UL << 1)
#define _PAGE_USER (1UL << 2)
#define _PAGE_PWT (1UL << 3)
#define _PAGE_PCD (1UL << 4)
#define _PAGE_ACCESSED (1UL << 5)
#define _PAGE_DIRTY (1UL << 6)
#define _PAGE_PSE (1UL << 7)
#define _PAGE_PAT (1UL << 7)
#define _PAGE_GLOBAL (1UL << 8)
#define _PAGE_SOFTW1 (1UL << 9)
#define _PAGE_SOFTW2 (1UL << 10)
#define _PAGE_SOFTW3 (1UL << 11)
#define _PAGE_PAT_LARGE (1UL << 12)
#define _PAGE_SAVED_DIRTY (1UL << 58)
#define _PAGE_SOFTW4 (1UL << 57)
#define _PAGE_PKEY_BIT0 (1UL << 59)
#define _PAGE_PKEY_BIT1 (1UL << 60)
#define _PAGE_PKEY_BIT2 (1UL << 61)
#define _PAGE_PKEY_BIT3 (1UL << 62)
#define _PAGE_NX (1UL << 63)
#define _PAGE_PROTNONE _PAGE_GLOBAL
#define _PAGE_SPECIAL _PAGE_SOFTW1
#define _PAGE_UFFD_WP _PAGE_SOFTW2
#define _PAGE_SOFT_DIRTY _PAGE_SOFTW3
#define _PAGE_DEVMAP _PAGE_SOFTW4
#define _PAGE_KNL_ERRATUM_MASK (_PAGE_DIRTY | _PAGE_ACCESSED)
typedef unsigned long pteval_t;
typedef unsigned long pmdval_t;
typedef struct { pteval_t pte; } pte_t;
typedef struct { pmdval_t pmd; } pmd_t;
static inline pteval_t pte_val(pte_t pte)
{
	return pte.pte;
}
static inline pmdval_t pmd_val(pmd_t pmd)
{
	return pmd.pmd;
}
static inline pteval_t pte_flags(pte_t pte)
{
	return pte.pte & PTE_FLAGS_MASK;
}
static inline pmdval_t pmd_flags(pmd_t pmd)
{
	return pmd.pmd & ~(pmd.pmd & _PAGE_PSE ? PTE_PFN_MASK & PMD_MASK : PTE_PFN_MASK);
}
/* The frame number of an entry that is not present and not empty is stored inverted (L1TF). */
static inline unsigned long pte_pfn(pte_t pte)
{
	unsigned long value = pte.pte && !(pte.pte & _PAGE_PRESENT) ? ~pte.pte : pte.pte;
	return (value & PTE_PFN_MASK) >> PAGE_SHIFT;
}
static inline unsigned long pmd_pfn(pmd_t pmd)
{
	unsigned long mask = pmd.pmd & _PAGE_PSE ? PTE_PFN_MASK & PMD_MASK : PTE_PFN_MASK;
	unsigned long value = pmd.pmd && !(pmd.pmd & _PAGE_PRESENT) ? ~pmd.pmd : pmd.pmd;
	return (value & mask) >> PAGE_SHIFT;
}
static inline int pte_none(pte_t pte)
{
	return !(pte.pte & ~_PAGE_KNL_ERRATUM_MASK);
}
static inline int pte_present(pte_t pte)
{
	return !!(pte.pte & (_PAGE_PRESENT | _PAGE_PROTNONE));
}
