"""Seeded faults: bugs put back one at a time, each the unbroken strategy with one decision replaced."""
