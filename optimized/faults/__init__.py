"""Seeded faults: bugs put back one at a time, each of them the unbroken strategy with one decision replaced."""
