"""The commands behind the performance claims; each module prints a table and can write its data."""
