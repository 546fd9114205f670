"""Litmus tests that others have published for x86 with its page tables: what they say, and what this machine does."""
