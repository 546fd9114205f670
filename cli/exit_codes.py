"""The exit codes of `shootdown`."""

from typing import Final

OK: Final = 0
"""Nothing illegal."""
ILLEGAL_FOUND: Final = 1
"""Something illegal was found, or still fails."""
UNUSABLE: Final = 2
"""Wrong usage or unusable input."""
HARNESS_FAILED: Final = 3
"""The harness itself failed, its output could not be written, or what it found did not happen again."""
UNDECIDED: Final = 4
"""A proof met its limit, or Ctrl-C, before everything was explored, and has found nothing illegal so far."""
INTERRUPTED: Final = 130
"""Ctrl-C outside a campaign, by the convention of shells; a campaign ends with one of the codes above."""
PIPE_CLOSED: Final = 141
"""The reader of the output is gone, by the same convention."""
