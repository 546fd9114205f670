"""All bugs, by their names."""

from typing import Final

from bench.kernel_bugs import broadcasts, flushes, gathers, switches
from bench.kernel_bugs.bug import Bug

_ALL: Final = (*switches.BUGS, *flushes.BUGS, *gathers.BUGS, *broadcasts.BUGS)
CATALOGUE: Final[dict[str, Bug]] = {bug.name: bug for bug in _ALL}
if len(CATALOGUE) < len(_ALL):
    _MESSAGE = "two bugs of a kernel's text have one name"
    raise ValueError(_MESSAGE)
