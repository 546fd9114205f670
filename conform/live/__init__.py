"""The host's own Linux, driven from user space by a small C program."""
