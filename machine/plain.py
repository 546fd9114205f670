"""Plain data: objects that know their own fields, and so copy and compare themselves.

A proof copies a world at each of its branches, and a test compares two wherever runs must agree.
A class that listed its fields for each of these again had to be extended in four places, and a forgotten field made two
worlds share a list.
"""

from typing import Any, ClassVar, Final, Self

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Plain:
    """The base of everything that is state: its fields are those that `__init__` sets, and nothing lists them again.

    A field is a number, a tuple, which nobody changes, None, an object of this kind, or a list, dictionary or set.
    The elements of a list, and the values of a dictionary, are all numbers, all tuples, or may all be anything else.
    """

    SHARED: ClassVar[frozenset[str]] = frozenset()
    """Fields that are no state of the object: a copy has the same ones, and no key contains them."""
    COUNTERS: ClassVar[frozenset[str]] = frozenset()
    """Fields that count what a run has cost: a copy goes on from there, and no key contains them."""

    def copy(self) -> Self:
        """Return an equal object that shares no mutable state with this one."""
        kind = type(self)
        other = kind.__new__(kind)
        shared = self.SHARED
        for name, value in self._fields():
            setattr(other, name, value if name in shared else _copied(value))
        return other

    def key(self) -> tuple[object, ...]:
        """Return a hashable value, equal for equal objects of one class."""
        left_out = self.SHARED | self.COUNTERS
        return tuple([_hashable(value) for name, value in self._fields() if name not in left_out])

    def _fields(self) -> list[tuple[str, Any]]:
        """Return the fields with their values, in the same order for all objects of a class.

        mypyc names those of a compiled class in `__mypyc_attrs__`; an interpreted one, which may extend it, has them in
        the dictionary of each object.
        """
        kind = type(self)
        names = _COMPILED.get(kind)
        if names is None:
            names = _COMPILED[kind] = _compiled_fields(kind)
        fields = [(name, getattr(self, name)) for name in names]
        fields.extend(getattr(self, "__dict__", _NOTHING).items())
        return fields


_COMPILED: Final[dict[type, list[str]]] = {}
_NOTHING: Final[dict[str, Any]] = {}


def _compiled_fields(kind: type) -> list[str]:
    attributes = [base.__dict__.get("__mypyc_attrs__", ()) for base in kind.__mro__]
    names = dict.fromkeys([name for group in attributes for name in group])
    names.pop("__dict__", None)
    return list(names)


def _copied(value: Any) -> Any:  # noqa: ANN401 (whatever a field contains)
    if value is None or isinstance(value, (int, tuple)):
        return value
    if isinstance(value, list):
        if not value or isinstance(value[0], (int, tuple)):
            return value.copy()
        return [_copied(element) for element in value]
    if isinstance(value, dict):
        for element in value.values():
            if not isinstance(element, (int, tuple)):
                return {name: _copied(other) for name, other in value.items()}
            break
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
