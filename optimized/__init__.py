"""The model that batches and skips flushes: mmu_gather, the need-flush rules, and their seeded faults."""
