"""The model that flushes every CPU at each PTE change, and the version history that the oracle uses."""
