"""Plain data: objects that know their own fields, and so copy and compare themselves.

A proof copies a world at each of its branches, and a test compares two worlds where runs must agree.
A class that lists its fields again for each of these has to be extended in four places, and a field that is forgotten
makes two worlds share a list.
"""

from typing import Any, ClassVar, Final, Self

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Plain:
    """The base of all state: the fields are those that `__init__` sets, and nothing lists them again.

    A field is a number, None, a tuple, which never changes, an object of this kind, or a list, dictionary or set.

    A class that proofs copy at each branch has an argument `known` of `__init__`, another object of the class: beside
    the first value of each field `__init__` says how the field continues from `known`, and `copy` uses that. To look at
    each value takes three times as long.
    A class that extends such a class is copied as here.
    A class that mypyc compiles needs the same decorator as this one: without it `__new__` demands the arguments of
    `__init__`.
    """

    SHARED: ClassVar[frozenset[str]] = frozenset()
    """The fields that are no state of the object: a copy shares them, and no key contains them."""
    COUNTERS: ClassVar[frozenset[str]] = frozenset()
    """The fields that count the costs of a run: a copy continues to count, and no key contains them."""

    def copy(self) -> Self:
        """Return an equal object that shares no mutable state with this one."""
        kind = type(self)
        other = kind.__new__(kind)
        for name in self.fields():
            value = getattr(self, name)
            setattr(other, name, value if name in self.SHARED else _copied(value))
        return other

    def key(self) -> tuple[object, ...]:
        """Return a hashable value, equal for equal objects of one class."""
        left_out = self.SHARED | self.COUNTERS
        return tuple(
            [_hashable(getattr(self, name)) for name in self.fields() if name not in left_out]
        )

    def fields(self) -> list[str]:
        """Return the names of the fields.

        mypyc keeps those of a compiled class in `__mypyc_attrs__`; an interpreted class, which may extend a compiled
        one, has them in the dictionary of each object.
        """
        compiled = _COMPILED.get(type(self))
        if compiled is None:
            compiled = _COMPILED[type(self)] = _compiled_fields(type(self))
        added = getattr(self, "__dict__", None)
        return [*compiled, *(name for name in added if name not in compiled)] if added else compiled


_COMPILED: Final[dict[type, list[str]]] = {}


def _compiled_fields(kind: type) -> list[str]:
    groups = [base.__dict__.get("__mypyc_attrs__", ()) for base in kind.__mro__]
    names = dict.fromkeys([name for group in groups for name in group])
    names.pop("__dict__", None)
    return list(names)


def _copied(value: Any) -> Any:  # noqa: ANN401 (whatever a field contains)
    if value is None or isinstance(value, (int, tuple)):
        return value
    if isinstance(value, list):
        return [_copied(element) for element in value]
    if isinstance(value, dict):
        return {name: _copied(element) for name, element in value.items()}
    return value.copy()


def _hashable(value: Any) -> object:  # noqa: ANN401
    if value is None or isinstance(value, (int, tuple)):
        return value
    if isinstance(value, list):
        return tuple([_hashable(element) for element in value])
    if isinstance(value, dict):
        return tuple(sorted((name, _hashable(element)) for name, element in value.items()))
    if isinstance(value, set):
        return frozenset(value)
    return value.key()
