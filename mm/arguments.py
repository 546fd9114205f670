"""The arguments that an operation can have: their values, and their words in the text form."""

from typing import Final, NamedTuple

from shootdown.machine.geometry import PAGES
from shootdown.mm.state import MMS

# The bits of a protection.
PROT_READ: Final = 1
PROT_WRITE: Final = 2
PROT_EXEC: Final = 4

MAP_SHIFT: Final = 3
"""The type of a mapping is the argument of mmap, shifted right by this number of bits."""
MAP_PRIVATE: Final = 0
MAP_SHARED: Final = 1
MAP_HUGE: Final = 2
MAP_FILE: Final = 3

PKEY_SHIFT: Final = 3
"""The protection key of pkey_mprotect is its argument, shifted right by this number of bits."""

PROTECTIONS: Final = ("none", "r", "w", "rw", "x", "rx", "wx", "rwx")
MAP_TYPES: Final = ("private", "shared", "huge", "file")
KEYS: Final = 3
_DIFFERENT: Final = ("none", "r", "rw", "rx", "rwx")
"""The protections with different entries: on x86 a right to write, or to execute, includes the right to read."""


class Argument(NamedTuple):
    """The argument of an operation: the text form of value `i` is `names[i]`."""

    expected: str
    """The words in which a parse error says what it expected."""
    names: tuple[str, ...]
    """The words of the values; an empty first one may be left out."""
    different: tuple[int, ...]
    """The values that a proof explores: each other value has the effect of one of them, or is left out on purpose."""
    of_pages: bool = False
    """Whether the values are pages; in that case only the pages of the scenario are values."""
    protected: bool = False
    """Whether the low bits are a protection."""


def _argument(expected: str, names: tuple[str, ...]) -> Argument:
    return Argument(expected, names, tuple(range(len(names))))


_PROTECTION_VALUES: Final = tuple(PROTECTIONS.index(name) for name in _DIFFERENT)

# An operation without an argument has exactly one value, so that every argument byte reduces to 0.
NO_ARGUMENT: Final = _argument("", ("",))
PROTECTION: Final = Argument(
    f"a protection ({', '.join(PROTECTIONS)})",
    PROTECTIONS,
    different=_PROTECTION_VALUES,
    protected=True,
)
MAPPING: Final = Argument(
    f"a protection ({', '.join(PROTECTIONS)}) and a type ({', '.join(MAP_TYPES)})",
    tuple(f"{protection} {kind}" for kind in MAP_TYPES for protection in PROTECTIONS),
    # A new mapping in a proof is private; the header chooses other mappings.
    different=(PROTECTIONS.index("rw"),),
    protected=True,
)
KEYED_PROTECTION: Final = Argument(
    f"a protection ({', '.join(PROTECTIONS)}) and a key (k0, k1, k2)",
    tuple(f"{protection} k{key}" for key in range(KEYS) for protection in PROTECTIONS),
    different=tuple(
        key << PKEY_SHIFT | value for key in range(KEYS) for value in _PROTECTION_VALUES
    ),
    protected=True,
)
KEY_RIGHTS: Final = _argument(
    "the rights (none, r, rw) to a key (k1, k2)",
    tuple(f"{rights} k{key}" for key in (1, 2) for rights in ("none", "r", "rw")),
)
_SPACES: Final = tuple(f"mm{mm}" for mm in range(MMS))
SPACE: Final = _argument(f"an address space ({', '.join(_SPACES)})", _SPACES)
PLACEMENT: Final = _argument("where the pages are to be (stay, move)", ("stay", "move"))
DESTINATION: Final = _argument(
    "'to' and a destination page of the scenario", tuple(f"to p{page}" for page in range(PAGES))
)._replace(of_pages=True)
