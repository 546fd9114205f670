"""The check of steps: every tuple that is a step has the arguments that its function names, by number and by kind.

mypy cannot say this, because a step is a tuple of integers for the sake of speed.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shootdown.mm.step import STEP_POINTS
from shootdown.prove.packing import RENAMED
from tests.step_quantities import LITERAL, kind_of, kind_of_name, leading_name
from tests.step_sources import Module, Push, Signature, pushes, resolve


@dataclass(frozen=True)
class Problem:
    """A place where a step, or its function, is not right."""

    path: str
    line: int
    step: Signature
    text: str

    def __str__(self) -> str:
        """Return the place, and what is wrong there."""
        return f"{self.path}:{self.line}: {self.text}"


def problems(modules: Mapping[str, Module]) -> list[Problem]:
    """Return what is wrong with the steps of all modules."""
    found: list[Problem] = []
    made: set[tuple[str, str]] = set()
    for module in modules.values():
        found += problems_of_definitions(module)
        found += problems_of_pushes(modules, module)
        made |= {(signature.path, signature.name) for _, signature in pushes(modules, module)}
    found += [
        Problem(signature.path, signature.line, signature, f"nothing pushes {signature.name}")
        for module in modules.values()
        for signature in module.signatures.values()
        if (signature.path, signature.name) not in made
    ]
    return found


def problems_of_definitions(module: Module) -> list[Problem]:
    """Return what is wrong with the step functions of a module."""
    return [
        Problem(signature.path, signature.line, signature, f"{signature.name} {fault}")
        for signature in module.signatures.values()
        for fault in _faults(signature)
    ]


def problems_of_pushes(modules: Mapping[str, Module], module: Module) -> list[Problem]:
    """Return what is wrong with the steps that a module makes."""
    found = [
        Problem(module.path, push.node.lineno, signature, misfit)
        for push, signature in pushes(modules, module)
        for misfit in misfits(push, signature)
    ]
    for line, name in module.bare:
        signature = resolve(modules, module, name)
        if signature:
            text = f"{name} is a step's code, and only a tuple that it begins can be checked"
            found.append(Problem(module.path, line, signature, text))
    return found


def misfits(push: Push, signature: Signature) -> list[str]:
    """Return why a step does not fit its function."""
    names = "..." if signature.arguments is None else ", ".join(signature.arguments)
    return [f"{signature.name}({names}) {misfit}" for misfit in _misfits(push, signature)]


def words_of(arguments: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the words with which a step must say what it takes: the kinds of its arguments if one is
    renamed, else ().
    """
    kinds = tuple(map(kind_of_name, arguments or ()))
    # An address space is not renamed; it says of what a generation is.
    return kinds if {*kinds} & {*RENAMED} - {"mm"} else ()


def _faults(signature: Signature) -> Iterator[str]:
    yield from signature.faults
    if not signature.words.strip():
        yield "has no name"
    if signature.point and signature.point not in STEP_POINTS:
        yield f"pauses at '{signature.point}', which is no point"
    arguments = signature.arguments or ()
    for name in arguments:
        if not kind_of_name(name):
            yield f"takes {name}, of which the kind is not known (tests/step_quantities.py)"
    if len({*arguments}) < len(arguments):
        yield "names two arguments alike"
    words = words_of(arguments)
    if signature.takes != words:
        yield f"takes '{' '.join(words)}' and says '{' '.join(signature.takes)}'"
    if "generation" in words and "mm" not in words[: words.index("generation")]:
        yield "takes a generation, and no address space before it"


def _misfits(push: Push, signature: Signature) -> Iterator[str]:
    given = push.arguments
    wanted = signature.arguments
    starred = any(isinstance(argument, ast.Starred) for argument in given)
    if wanted is None:
        if not starred:
            yield "takes the elements of a step"
        return
    if len(given) > len(wanted) if starred else len(given) != len(wanted):
        yield f"has {len(given)} arguments here"
        return
    for argument, name in zip(given, wanted, strict=False):
        if isinstance(argument, ast.Starred):
            return
        yield from _misfit(argument, name, wanted)


def _misfit(argument: ast.expr, name: str, wanted: tuple[str, ...]) -> Iterator[str]:
    """Yield why an expression cannot be the argument of a name."""
    text = ast.unparse(argument)
    leading = leading_name(argument)
    kind, expected = kind_of(argument), kind_of_name(name)
    if leading != name and leading in wanted:
        yield f"has {text} for {name}"
    elif not kind:
        yield f"has {text} for {name}, of which the kind is not known (tests/step_quantities.py)"
    elif kind not in (expected, LITERAL):
        yield f"has {text} for {name}: {kind} for {expected}"
