"""The kind of quantity of a name or an expression: a page is not an address space, and a frame is not an entry.

The kind of a name is that of the name itself, or else of its last word (`old_frame` is a frame).
The kinds are the words in which a step says what it takes (`mm.step.TAKES`).
"""

import ast
from typing import Final

from tests.step_sources import dotted

NAMES: Final[dict[str, str]] = {
    "advice": "advice",
    "arg": "arg",
    "asid": "asid pcid",
    "batch": "batched",
    "code": "code",
    "count": "count length pages fanout",
    "cpu": "cpu",
    "deny": "deny",
    "entry": "entry pte pmd old",
    "flag": "freed freed_tables flush asked",
    "frame": "frame root cr3",
    "function": "function back batch_flush finish flush_gather flush_tlbonly",
    "generation": "generation",
    "index": "index",
    "key": "key",
    "kind": "kind read write exec",
    "mask": "mask part rest",
    "mm": "mm child",
    "mode": "mode mprotect prot_numa",
    "node": "where",
    "offset": "offset i",
    "page": "page first start target end",
    "place": "place",
    "point": "point pageout submit",
    "prot": "prot",
    "slot": "slot",
    "table": "table",
    "targets": "targets",
    "tries": "tries",
    "what": "what unmap drop drop_table",
}
"""Each kind with its names, including those of constants."""

LITERAL: Final = "number"
"""The kind of a number that is written out, which may be of any kind."""

_KINDS: Final = {name: kind for kind, names in NAMES.items() for name in names.split()}
_COUNTS: Final = {"count", "offset", LITERAL}
"""The kinds that may be added to a position, and that the difference of two positions has."""
_POSITIONS: Final = {"page", "frame", "place", "index"}


def kind_of_name(name: str) -> str:
    """Return the kind of a name, "" if it has none."""
    word = name.lower().strip("_")
    return _KINDS.get(word) or _KINDS.get(word.rpartition("_")[2], "")


def kind_of(node: ast.expr) -> str:
    """Return the kind of an expression, "" if it is not known."""
    match node:
        case ast.Constant(value=int()):
            return LITERAL
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return kind_of_name(name)
        case ast.Subscript(value=ast.Name() | ast.Attribute() as value):
            return kind_of(value)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return kind_of(operand)
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            return "flag"
        case ast.IfExp(body=body, orelse=other):
            return _same([kind_of(body), kind_of(other)])
        case ast.BinOp():
            return _of_operation(node)
        case ast.Call(func=ast.Name(id="int" | "min" | "max"), args=arguments):
            return _same([kind_of(argument) for argument in arguments])
        case ast.Call(func=ast.Name(id=name)) if name.endswith("_of"):
            return kind_of_name(name.removesuffix("_of"))
    return ""


def leading_name(node: ast.expr) -> str:
    """Return the name of an expression, or the name from which it is counted, as `page` in `page + i - 1`; "" if there
    is none.
    """
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        node = node.left
    return dotted(node).rpartition(".")[2]


def _same(kinds: list[str]) -> str:
    """Return the kind that all have, numbers left out; "" if they differ."""
    named = {kind for kind in kinds if kind != LITERAL}
    return named.pop() if len(named) == 1 else "" if named else LITERAL


def _of_operation(node: ast.BinOp) -> str:
    left, right = kind_of(node.left), kind_of(node.right)
    match node.op:
        case ast.Add() | ast.Sub():
            return _of_sum(node)
        case ast.LShift():
            return "mask" if left in (LITERAL, "mask") else left
        case ast.RShift():
            return left
        case ast.BitAnd() | ast.BitOr():
            return right if left == LITERAL else left
        case ast.Mod():
            # A CPU by its distance from another one.
            return "cpu" if dotted(node.right).rpartition(".")[2] == "cpus" else ""
        case ast.FloorDiv():
            return "index" if left == "page" and dotted(node.right) == "FANOUT" else ""
        case ast.Mult():
            return "page" if left == "index" and dotted(node.right) == "FANOUT" else ""
    return ""


def _of_sum(node: ast.BinOp) -> str:
    """Return the kind of a sum: a position plus a count is a position, and the difference of two positions
    is a count.
    """
    if isinstance(node.op, ast.Add) and dotted(node.left) == "PAGES":
        # The first places of State.shared are those of shared memory, the others the file's.
        return "place" if kind_of(node.right) == "page" else ""
    signs: dict[str, int] = {}
    for kind, sign in _terms(node, 1):
        signs[kind] = signs.get(kind, 0) + sign
    positions = {kind: sign for kind, sign in signs.items() if kind not in _COUNTS}
    if len(positions) > 1 or "" in positions:
        return ""
    for kind, sign in positions.items():
        if sign == 1:
            return kind
        return "count" if sign == 0 and kind in _POSITIONS else ""
    return _same([kind for kind in signs if kind != "offset"])


def _terms(node: ast.expr, sign: int) -> list[tuple[str, int]]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        then = -sign if isinstance(node.op, ast.Sub) else sign
        return [*_terms(node.left, sign), *_terms(node.right, then)]
    return [(kind_of(node), sign)]
