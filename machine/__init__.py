"""The x86-64 machine: PTE bits, frames, page tables in memory, TLBs and CPUs, with no knowledge of Linux."""
