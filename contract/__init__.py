"""The promises of the system calls to a program, from their arguments alone: a specification without page tables."""
