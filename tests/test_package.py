"""The package as a program and its type checker see it."""

import ast
import os
import pkgutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import shootdown

ROOT = Path(__file__).resolve().parent.parent
USE = """import shootdown
from shootdown import Policy, entry
from shootdown.testing import assert_illegal, assert_legal, assert_survives


def needs_flush(old: int, new: int) -> bool:
    return bool(old & ~new & entry.PRESENT)


POLICY = Policy("mine", needs_flush, handler=shootdown.FaultHandler.LINUX)
result: shootdown.FuzzResult = shootdown.fuzz_policy(needs_flush, executions=10)
keys: list[str] = [finding.key for finding in result.findings]
shown: shootdown.ReplayResult = shootdown.replay("good_fork_cow_break", POLICY)
proof = shootdown.prove_policy("mine.py", operations=["read"])
text: str = proof.counterexample or shootdown.__version__
rows: tuple[shootdown.TableRow, ...] = shootdown.tabulate_policy(POLICY)
assert_survives(POLICY, seed=2)
assert_legal(text, POLICY)
assert_illegal(text, POLICY, rule="C1").report.splitlines()
"""
WRONG = """import shootdown

shootdown.fuzz_policy(3, executions="many")
shootdown.replay("x", "linux").verdict.append(1)
shootdown.fuzz_polcy("linux")
"""


def test_the_package_loads_no_room() -> None:
    """`import shootdown` loads nothing but the choice of the form, and its version is that of the installation."""
    loaded = (
        "import shootdown, sys; print(sorted(n for n in sys.modules if n.startswith('shootdown')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )

    assert ast.literal_eval(done.stdout) == ["shootdown", "shootdown.form"]
    assert shootdown.__version__ == version("shootdown")


def test_public_names_are_there() -> None:
    """Every public name can be imported and is listed, and no other name exists."""
    assert all(getattr(shootdown, name) is not None for name in shootdown.__all__)
    assert set(shootdown.__all__) <= set(dir(shootdown))
    with pytest.raises(AttributeError, match="has no attribute 'fuzz_polcy'"):
        _ = shootdown.fuzz_polcy  # type: ignore[attr-defined]  # that is the mistake


def test_public_names_are_those_of_the_type_checker() -> None:
    """The type checker sees what exists: the names that are imported for it are the public ones."""
    tree = ast.parse(Path(shootdown.__file__).read_text())
    (block,) = (
        node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    )
    seen = {
        name.asname: f"{node.module}.{name.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    homes = {name: f"{home}.{name}" for name, home in shootdown._HOMES.items()}

    assert seen == homes
    assert {*seen, "__version__"} == set(shootdown.__all__)


def test_no_public_name_is_that_of_a_room() -> None:
    """Importing a room binds its name on the package, so no function has such a name."""
    rooms = {found.name for found in pkgutil.iter_modules(shootdown.__path__)}

    assert rooms >= {"fuzz", "prove", "api"}
    assert rooms & set(shootdown.__all__) == set()


def test_types_for_the_user(tmp_path: Path) -> None:
    """A strict mypy accepts a program that uses the package, and sees the mistakes of another one."""
    everything = "".join(f"from shootdown import {name}\n" for name in shootdown.__all__)
    files = {"mine.py": USE, "wrong.py": WRONG, "everything.py": everything}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", *sorted(files)],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]

    assert [line.split(":")[0] for line in errors] == ["wrong.py"] * 4, done.stdout
