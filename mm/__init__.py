"""Linux memory management over a machine: address spaces, locks, faults, and one file per operation."""
