"""Runs: a scenario on the machine and the memory manager, judged by the oracle."""
