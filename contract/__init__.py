"""What the system calls promise a program, by their arguments alone: a specification that knows no page tables."""
