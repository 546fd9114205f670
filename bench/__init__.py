"""What the performance claims are made with; each module is a command that prints a table and can write its data."""
