"""Says whether a TLB flush may be skipped or put off."""

# Before any room is imported: it decides in which form they are.
from shootdown import form as form
