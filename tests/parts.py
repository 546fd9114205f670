"""The parts of a protocol of the memory manager, and the files that are named after them."""

import re


def parts_of(protocol: type) -> list[type]:
    """Return the parts that the protocol extends, in its order."""
    own = [each for each in protocol.__mro__[1:] if each.__module__ == protocol.__module__]
    assert len(own) == 7
    return own


def methods(part: type) -> set[str]:
    """Return the names of the methods that a part declares."""
    found = {name for name in vars(part) if not name.startswith("_")}
    assert found
    return found


def word(part: type) -> str:
    """Return the name of the part's file, without its suffix: page_tables answers PageTables."""
    return re.sub(r"(?<=.)(?=[A-Z])", "_", part.__name__).lower()
