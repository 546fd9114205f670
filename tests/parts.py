"""The parts that a protocol of the memory manager consists of, and the files that are named after them."""

import re


def parts_of(protocol: type) -> list[type]:
    """The parts that the protocol extends, in its order."""
    own = [each for each in protocol.__mro__[1:] if each.__module__ == protocol.__module__]
    assert len(own) == 7
    return own


def methods(part: type) -> set[str]:
    """What a part declares."""
    found = {name for name in vars(part) if not name.startswith("_")}
    assert found
    return found


def word(part: type) -> str:
    """The name of the part's file, without its suffix: PageTables is answered in page_tables."""
    return re.sub(r"(?<=.)(?=[A-Z])", "_", part.__name__).lower()
