"""The kinds of change that make a mutant: each is one assignment to a node of the syntax tree.

A line that reports to the observer is left alone, and so are docstrings and asserts: they say what the model does, but
do not do it.
"""

import ast
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

DROP_STEP: Final = "drop-step"
SWAP_STEPS: Final = "swap-steps"
NEGATE: Final = "negate"
DROP_CONDITION: Final = "drop-condition"
DROP_OPERAND: Final = "drop-operand"
SHIFT: Final = "shift-compare"
DROP_CALL: Final = "drop-call"
KINDS: Final = (DROP_STEP, SWAP_STEPS, NEGATE, DROP_CONDITION, DROP_OPERAND, SHIFT, DROP_CALL)

_SHIFTED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
_OPPOSITE: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_LEAVES: Final = (ast.Return, ast.Raise, ast.Continue, ast.Break)
Function = ast.FunctionDef
Place = Callable[[ast.AST], None]
"""A function that puts a node in place of another one."""


class Edit(NamedTuple):
    """One change that is not carried out yet: `value` is assigned to `field` of `owner`.

    `text`: what it changes, in words of the source.
    """

    kind: str
    text: str
    owner: ast.AST
    field: str
    value: object

    def carry_out(self) -> "Edit":
        """Change the tree, and return the edit that reverts the change."""
        old = getattr(self.owner, self.field)
        setattr(self.owner, self.field, self.value)
        return self._replace(value=old)


def edits_of(function: Function) -> Iterator[Edit]:
    """Yield every edit of a function, in the order of the source; two edits may have the same result."""
    for statements, owner, field in _blocks(function):
        for at, statement in enumerate(statements):
            if not _is_silent(statement):
                continue
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                rest = [*statements[:at], *statements[at + 1 :]] or [ast.Pass()]
                yield Edit(DROP_CALL, ast.unparse(statement), owner, field, rest)
            if isinstance(statement, ast.If):
                yield from _condition_dropped(statement, statements, at, owner, field)
            yield from _in_expressions(statement, function)


def _blocks(function: Function) -> Iterator[tuple[list[ast.stmt], ast.AST, str]]:
    """Yield every list of statements of a function, with its place; an inner function is a function of its own."""
    waiting: list[ast.AST] = [function]
    while waiting:
        node = waiting.pop(0)
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(node, field, None)
            if isinstance(statements, list) and statements:
                yield statements, node, field
                waiting += [each for each in statements if not isinstance(each, ast.FunctionDef)]
        waiting += getattr(node, "handlers", [])


def _is_silent(statement: ast.stmt) -> bool:
    """Return whether a statement does more than report to the observer, count costs, or assert something."""
    if isinstance(statement, (ast.Assert, ast.Pass, ast.FunctionDef, ast.Raise)):
        return False
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call) and "observer" not in _names(statement)
    if isinstance(statement, (ast.If, ast.For, ast.While)):
        return any(_is_silent(each) for each in [*statement.body, *statement.orelse])
    return not _names(statement) & {"observer", "costs"}


def _names(node: ast.AST) -> set[str]:
    return {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}


def _condition_dropped(
    statement: ast.If, statements: list[ast.stmt], at: int, owner: ast.AST, field: str
) -> Iterator[Edit]:
    """Drop a guard that leaves together with what it guards; let the body of any other condition always run."""
    text = ast.unparse(statement.test)
    if isinstance(statement.body[-1], _LEAVES) and not statement.orelse:
        rest = [*statements[:at], *statements[at + 1 :]] or [ast.Pass()]
        yield Edit(DROP_CONDITION, text, owner, field, rest)
    else:
        yield Edit(DROP_CONDITION, text, statement, "test", ast.Constant(value=True))


def _in_expressions(statement: ast.stmt, function: Function) -> Iterator[Edit]:
    """Yield the edits of the expressions of one statement, without those of inner statements."""
    if isinstance(statement, ast.Return) and statement.value and _is_bool(function):
        yield from _negated(statement.value, statement, "value")
    if isinstance(statement, (ast.If, ast.While)):
        yield from _negated(statement.test, statement, "test")
    for node in _expressions(statement):
        if isinstance(node, ast.IfExp):
            yield from _negated(node.test, node, "test")
        if isinstance(node, ast.comprehension):
            for at, test in enumerate(node.ifs):
                tests = [*node.ifs[:at], _not(test), *node.ifs[at + 1 :]]
                yield Edit(NEGATE, ast.unparse(test), node, "ifs", tests)
                rest = [*node.ifs[:at], *node.ifs[at + 1 :]]
                yield Edit(DROP_CONDITION, ast.unparse(test), node, "ifs", rest)
        if isinstance(node, ast.BoolOp):
            yield from _operand_dropped(node)
        if isinstance(node, ast.Compare):
            yield from _shifted(node)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "push"
        ):
            yield from _steps(node, "args", node.args, 2)
        if isinstance(node, ast.List) and any(_is_step(each) for each in node.elts):
            yield from _steps(node, "elts", node.elts, 0)


def _is_bool(function: Function) -> bool:
    return isinstance(function.returns, ast.Name) and function.returns.id == "bool"


def _expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    waiting = [each for each in ast.iter_child_nodes(statement) if not isinstance(each, ast.stmt)]
    while waiting:
        node = waiting.pop(0)
        yield node
        waiting += [each for each in ast.iter_child_nodes(node) if not isinstance(each, ast.stmt)]


def _negated(test: ast.expr, owner: ast.AST, field: str) -> Iterator[Edit]:
    if not isinstance(test, ast.Constant):
        yield Edit(NEGATE, ast.unparse(test), owner, field, _not(test))


def _not(test: ast.expr) -> ast.expr:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and type(test.ops[0]) in _OPPOSITE:
        opposite = _OPPOSITE[type(test.ops[0])]()
        return ast.Compare(left=test.left, ops=[opposite], comparators=test.comparators)
    return ast.UnaryOp(op=ast.Not(), operand=test)


def _operand_dropped(node: ast.BoolOp) -> Iterator[Edit]:
    """Replace an operand by the neutral value: true for `and`, false for `or`."""
    neutral = ast.Constant(value=isinstance(node.op, ast.And))
    word = "and" if isinstance(node.op, ast.And) else "or"
    for at, value in enumerate(node.values):
        values = [*node.values[:at], neutral, *node.values[at + 1 :]]
        yield Edit(DROP_OPERAND, f"{word} {ast.unparse(value)}", node, "values", values)


def _shifted(node: ast.Compare) -> Iterator[Edit]:
    text = ast.unparse(node)
    for at, operator in enumerate(node.ops):
        other = _SHIFTED.get(type(operator))
        if other:
            ops = [*node.ops[:at], other(), *node.ops[at + 1 :]]
            yield Edit(SHIFT, text, node, "ops", ops)
    if type(node.ops[0]) in _SHIFTED:
        if isinstance(node.left, ast.Constant) and type(node.left.value) is int:
            yield Edit(SHIFT, f"{text} +1", node, "left", ast.Constant(value=node.left.value + 1))
        for at, right in enumerate(node.comparators):
            if isinstance(right, ast.Constant) and type(right.value) is int:
                raised = ast.Constant(value=right.value + 1)
                values = [*node.comparators[:at], raised, *node.comparators[at + 1 :]]
                yield Edit(SHIFT, f"{text} +1", node, "comparators", values)


def _is_step(node: ast.expr) -> bool:
    """Return whether an element of a list is a step: a tuple that begins with a name, the code of the step."""
    return isinstance(node, ast.Tuple) and bool(node.elts) and isinstance(node.elts[0], ast.Name)


def _steps(node: ast.AST, field: str, steps: list[ast.expr], first: int) -> Iterator[Edit]:
    """Yield the edits of a push of steps; the dropping of calls handles a push of one step."""
    if len(steps) == first + 1 and first:
        return
    for at in range(first, len(steps)):
        yield Edit(DROP_STEP, ast.unparse(steps[at]), node, field, [*steps[:at], *steps[at + 1 :]])
    for at in range(first, len(steps) - 1):
        text = f"{ast.unparse(steps[at])} <-> {ast.unparse(steps[at + 1])}"
        swapped = [*steps[:at], steps[at + 1], steps[at], *steps[at + 2 :]]
        yield Edit(SWAP_STEPS, text, node, field, swapped)
