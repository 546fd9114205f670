"""What change_pte_range and change_huge_pmd of a kernel tree use beyond what kernel/shim/machinery defines.

    python -m bench.kernel_beyond TREE...

For each function the command prints its lines, and how many functions, names, members and types gcc misses when it is
compiled after the headers that tlb.c is compiled with. What these call in turn does not count. Each one would be a stub
whose answer decides what the function does.
"""

import argparse
import re
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final

from shootdown.kernel.directives import without_comments, without_reads
from shootdown.kernel.limited import run_limited
from shootdown.kernel.machinery import CONFIGURATION, FILES, FIRST, THEN
from shootdown.kernel.rule import options_of
from shootdown.kernel.splicer import Splicer
from shootdown.kernel.text import text_at

FUNCTIONS: Final = {"change_pte_range": "mm/mprotect.c", "change_huge_pmd": "mm/huge_memory.c"}
MISSING: Final = {
    "functions": r"implicit declaration of function '(\w+)'",
    "names": r"'(\w+)' undeclared",
    "members": r"has no member named '(\w+)'",
    "types": r"unknown type name '(\w+)'",
}


def body_of(text: str, function: str) -> str:
    """Return the definition of a function."""
    start = re.search(
        rf"^[^\n;{{}}#]*\n?[^\n;{{}}#]*\b{function}\([^;{{]*\)\s*{{", text, re.MULTILINE
    )
    if not start:
        message = f"there is no {function}"
        raise SystemExit(message)
    depth = 0
    for brace in re.finditer(r"[{}]", text[start.start() :]):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return text[start.start() : start.start() + brace.end()]
    return text[start.start() :]


def missing(tree: Path, function: str, file: str) -> tuple[int, dict[str, set[str]]]:
    """Return the lines of a function, and what is missing for it."""
    found = text_at(tree).read([*FILES, file])
    splicer = Splicer(found)
    shim = files("shootdown.kernel") / "shim" / "machinery"
    for name in ("text.h", "primitives.h"):
        splicer.shim(name, (shim / name).read_text())
    for include in FIRST:
        splicer.header(include)
    splicer.shim("mm.h", (shim / "mm.h").read_text())
    for include in THEN:
        splicer.header(include)
    body = body_of(without_reads(without_comments(found[file], file)), function)
    options = [*options_of(CONFIGURATION), "-DSHOOTDOWN_ASIDS=2", "-fsyntax-only", "-fmax-errors=0"]
    with tempfile.TemporaryDirectory() as folder:
        unit = Path(folder, "unit.c")
        unit.write_text(f'{splicer.text()}\n#line 1 "{function}"\n{body}\n')
        done = run_limited(["gcc", "-std=gnu11", "-nostdinc", *options, str(unit)], Path(folder))
    own = "\n".join(line for line in done.err.splitlines() if line.startswith(f"{function}:"))
    kinds = {kind: set(re.findall(pattern, own)) for kind, pattern in MISSING.items()}
    return len(body.splitlines()), kinds


def main() -> None:
    """Print a line for each tree and function."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("trees", nargs="+", type=Path, metavar="TREE")
    for tree in parser.parse_args().trees:
        for function, file in FUNCTIONS.items():
            lines, kinds = missing(tree, function, file)
            counts = ", ".join(f"{len(names)} {kind}" for kind, names in kinds.items())
            print(f"{tree.name} {function}: {lines} lines, missing: {counts}")


if __name__ == "__main__":
    main()
