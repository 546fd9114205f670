"""The steps of the models as their sources say them: what each step takes, and every tuple that is one.

A step is a tuple whose first element is a name that a `@step` binds, here or in the module that it is imported from.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = tuple(sorted(link.name for link in (ROOT / "shootdown").iterdir() if link.is_symlink()))
"""The folders that are the package."""

Place = tuple[str, str]
"""The file in which a name is bound, and the name."""


@dataclass(frozen=True)
class Signature:
    """What a step function says of itself: `arguments` are the names that it unpacks, None for any number of them."""

    path: str
    line: int
    name: str
    words: str
    point: str
    takes: tuple[str, ...]
    arguments: tuple[str, ...] | None
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Push:
    """A tuple that is a step, by the dotted name of its code in the module."""

    node: ast.Tuple
    code: str

    @property
    def arguments(self) -> list[ast.expr]:
        """Return what comes after the code."""
        return self.node.elts[1:]


@dataclass
class Module:
    """What one file says about steps."""

    path: str
    text: str
    signatures: dict[str, Signature] = field(default_factory=dict)
    bound: dict[str, Place] = field(default_factory=dict)
    """Where a name comes from that is imported, or is another name for one."""
    modules: dict[str, str] = field(default_factory=dict)
    """The files that a name for a module may be."""
    tuples: list[Push] = field(default_factory=list)
    """Every tuple whose first element is a name, a step or not."""
    bare: list[tuple[int, str]] = field(default_factory=list)
    """Every other use of a name: its line, and the dotted name."""


def read(path: str, text: str) -> Module:
    """Return what the file at a path says."""
    module = Module(path, text)
    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and dotted(decorator.func) == "step":
                    module.signatures[node.name] = _signature(path, node, decorator)
    _Names(module).visit(tree)
    known = {*module.signatures, *module.bound, *module.modules}
    module.bare = [(line, name) for line, name in module.bare if name.partition(".")[0] in known]
    return module


@cache
def sources() -> Mapping[str, Module]:
    """Return all modules of the package, by their paths."""
    paths = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return {
        name: read(name, path.read_text())
        for path in paths
        for name in [path.relative_to(ROOT).as_posix()]
    }


def dotted(node: ast.expr) -> str:
    """Return a name as it is written, `locks.pte_lock`; "" for what is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def resolve(modules: Mapping[str, Module], module: Module, name: str) -> Signature | None:
    """Return the step that a name of a module means, None if it means anything else."""
    head, _, attribute = name.partition(".")
    if attribute:
        other = modules.get(module.modules.get(head, ""))
        return resolve(modules, other, attribute) if other else None
    if name in module.signatures:
        return module.signatures[name]
    path, origin = module.bound.get(name, ("", ""))
    other = module if path == module.path else modules.get(path)
    return (
        resolve(modules, other, origin) if other and (path, origin) != (module.path, name) else None
    )


def pushes(modules: Mapping[str, Module], module: Module) -> Iterator[tuple[Push, Signature]]:
    """Yield every step that is made in a module, with what it takes."""
    for push in module.tuples:
        signature = resolve(modules, module, push.code)
        if signature:
            yield push, signature


def first_statement(function: ast.FunctionDef) -> ast.stmt | None:
    """Return the first statement after the docstring, None if there is no other."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[0] if body else None


def _signature(path: str, function: ast.FunctionDef, decorator: ast.Call) -> Signature:
    given = [*map(_text, decorator.args), "", ""]
    takes = "".join(_text(each.value) for each in decorator.keywords if each.arg == "takes")
    step = function.args.args[-1].arg
    first = first_statement(function)
    arguments, rest = _unpacked(first, step)
    faults = [
        f"{step}[...] beside the names of the arguments"
        for statement in function.body
        if statement is not rest
        for node in ast.walk(statement)
        if isinstance(node, ast.Subscript) and dotted(node.value) == step
    ]
    return Signature(
        path,
        function.lineno,
        function.name,
        given[0],
        given[1],
        tuple(takes.split()),
        arguments,
        tuple(faults),
    )


def _unpacked(first: ast.stmt | None, step: str) -> tuple[tuple[str, ...] | None, ast.stmt | None]:
    """Return the names that `_, mm, page = s` unpacks, None for `inside = s[1:]`, and the statement."""
    if isinstance(first, ast.Assign) and len(first.targets) == 1:
        target = first.targets[0]
        if isinstance(target, ast.Tuple) and dotted(first.value) == step:
            return tuple(dotted(name).lstrip("_") for name in target.elts[1:]), first
        if isinstance(target, ast.Name) and ast.unparse(first.value) == f"{step}[1:]":
            return None, first
    return (), None


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


class _Names(ast.NodeVisitor):
    """Sorts the uses of names in a module."""

    def __init__(self, module: Module) -> None:
        self.module = module

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        parts = (node.module or "").split(".")
        if parts[0] != "shootdown":
            return
        folder = "/".join(parts[1:])
        for name in node.names:
            known = name.asname or name.name
            self.module.bound[known] = f"{folder}.py", name.name
            self.module.modules[known] = f"{folder}/{name.name}.py"

    def visit_Import(self, node: ast.Import) -> None:
        for name in node.names:
            if name.asname and name.name.startswith("shootdown."):
                parts = name.name.split(".")[1:]
                self.module.modules[name.asname] = f"{'/'.join(parts)}.py"

    def visit_Assign(self, node: ast.Assign) -> None:
        """Record another name for a step as a step too."""
        target = node.targets[0]
        if isinstance(target, ast.Name) and isinstance(node.value, ast.Name):
            self.module.bound.setdefault(target.id, (self.module.path, node.value.id))
            return
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Allow the comparison of a step's code."""
        for operand in (node.left, *node.comparators):
            if isinstance(operand, ast.Tuple):
                self._asked(operand.elts)
            else:
                self._asked([operand])

    def visit_Set(self, node: ast.Set) -> None:
        """Allow a set of codes: it is used to ask whether a step is one of them."""
        self._asked(node.elts)

    def _asked(self, nodes: list[ast.expr]) -> None:
        for node in nodes:
            if not dotted(node):
                self.visit(node)

    def visit_Tuple(self, node: ast.Tuple) -> None:
        elements = node.elts
        if isinstance(node.ctx, ast.Load) and elements and dotted(elements[0]):
            self.module.tuples.append(Push(node, dotted(elements[0])))
            elements = elements[1:]
        for element in elements:
            self.visit(element)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if dotted(node) and isinstance(node.ctx, ast.Load):
            self.module.bare.append((node.lineno, dotted(node)))
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.module.bare.append((node.lineno, node.id))
