"""The mutants and their names."""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from bench.mutants.edits import Edit, Function, edits_of

FOLDERS: Final = ("machine", "mm", "optimized")
LEFT_OUT: Final = {
    # Policies other than the one under test, and the tables of all policies.
    "optimized/arm64.py",
    "optimized/elsewhere.py",
    "optimized/latr.py",
    "optimized/paravirt.py",
    "optimized/policies.py",
    "optimized/policy.py",
    "optimized/relaxed.py",
    # The engine that executes steps, which is not part of the model.
    "mm/step.py",
}
"""Files without a mutant; folders inside a folder (the seeded faults) have none either."""
UNDER_TEST: Final = {"optimized/rules.py": {"linux", "linux_huge", "_upstream"}}
"""In these files, only the named functions."""
SPARED: Final = {
    # State that is made, copied and compared.
    "__init__",
    "copy",
    "_copy",
    "key",
    # Only for feedback and reports.
    "variable",
    "behind",
    "count_open",
    # Only called by the oracle, or reporting to it.
    "quiesce",
    "tag_owner",
    "to_be_written",
    "allowance",
    "tlb_grants",
    # Only for the truth table of rules.
    "read_entry",
    "write_entry",
}
"""Functions that are not part of an operation."""
_LONGEST: Final = 90


class Mutant(NamedTuple):
    """One mutant: where it is, what it changes, and its unique name."""

    file: str
    function: str
    kind: str
    name: str

    @property
    def folder(self) -> str:
        """Return the folder of its file."""
        return self.file.split("/", maxsplit=1)[0]

    @property
    def module(self) -> str:
        """Return the module that it changes."""
        return module_of(self.file)


def module_of(file: str) -> str:
    """Return the module in a file of the models."""
    return f"shootdown.{file.removesuffix('.py').replace('/', '.')}"


def mutants_in(root: Path) -> list[Mutant]:
    """Return every mutant of the models in a source tree, in the order of files and lines."""
    found: list[Mutant] = []
    for folder in FOLDERS:
        for path in sorted((root / folder).glob("*.py")):
            file = path.relative_to(root).as_posix()
            if file not in LEFT_OUT:
                found += [mutant for mutant, _, _ in _edits_in(file, path.read_text())]
    return found


def mutated(file: str, source: str, name: str) -> ast.Module:
    """Return the tree of a file's source with the mutant carried out.

    Errors: KeyError when the file has no such mutant.
    """
    for mutant, edit, tree in _edits_in(file, source):
        if mutant.name == name:
            edit.carry_out()
            return ast.fix_missing_locations(tree)
    raise KeyError(name)


def mutants_of(file: str, source: str) -> list[Mutant]:
    """Return the mutants of one file's source."""
    return [mutant for mutant, _, _ in _edits_in(file, source)]


def _edits_in(file: str, source: str) -> Iterator[tuple[Mutant, Edit, ast.Module]]:
    """Yield the mutants of a file, each with its edit of the tree; of those with the same result, only the first."""
    tree = ast.parse(source)
    for path, function in _functions(tree, ""):
        wanted = UNDER_TEST.get(file)
        if function.name in SPARED or (wanted is not None and function.name not in wanted):
            continue
        results = {ast.unparse(function)}
        seen: Counter[str] = Counter()
        for edit in list(edits_of(function)):
            undo = edit.carry_out()
            result = ast.unparse(ast.fix_missing_locations(function))
            undo.carry_out()
            if result in results:
                continue
            results.add(result)
            what = f"{edit.kind} {_short(edit.text)}"
            seen[what] += 1
            ordinal = f" #{seen[what]}" if seen[what] > 1 else ""
            yield Mutant(file, path, edit.kind, f"{file}:{path} {what}{ordinal}"), edit, tree


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield prefix + child.name, child
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def _short(text: str) -> str:
    """Return a text on one line, with the end of a long one replaced by a digest."""
    line = " ".join(text.split())
    if len(line) <= _LONGEST:
        return line
    digest = hashlib.sha256(line.encode()).hexdigest()[:6]
    return f"{line[:_LONGEST]}... {digest}"


def selected(mutants: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """Return `count` of the mutants, from each file in proportion to its number and at least one.

    A seed always selects the same mutants. Within a file the kinds take turns. A mutant's turn depends on its name, so
    that an edit elsewhere in the sources changes little of the selection.
    """
    files: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        files.setdefault(mutant.file, []).append(mutant)
    turns: list[tuple[float, str, Mutant]] = []
    for members in files.values():
        kinds: Counter[str] = Counter()
        by_turn: list[tuple[int, str, Mutant]] = []
        for mutant in sorted(members, key=lambda each: draw(each.name, seed)):
            by_turn.append((kinds[mutant.kind], draw(mutant.name, seed), mutant))
            kinds[mutant.kind] += 1
        for place, (_, drawn, mutant) in enumerate(sorted(by_turn)):
            turns.append((place / len(members), drawn, mutant))
    chosen = {mutant.name for _, _, mutant in sorted(turns)[:count]}
    return [mutant for mutant in mutants if mutant.name in chosen]


def draw(name: str, seed: int) -> str:
    """Return 64 hex digits that depend on a name and a seed."""
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()
