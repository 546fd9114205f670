"""The table of a need-flush rule: for every class of changes whether it flushes, and whether a flush is needed."""
