"""The command line: `shootdown`. One file for each command."""
