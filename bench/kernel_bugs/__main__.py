"""What a campaign makes of each bug that is put back into a copy of a kernel tree.

    python -m bench.kernel_bugs [--tree PATH] [--limit 60] [--seeds 3] [--held-out] [--out FILE] [NAME...]

For each bug the command prints whether its rule was broken within the limit of CPU seconds, by which reason, after how
many executions, after how many any rule was broken, and how many records the minimized input has. `stories` is the
number of stories of the corpus on which the bug shows; the campaign starts without them. Bugs that are held out run
only with --held-out, or by their names. --out appends one JSON line per run, and a run that the file has is not
repeated, so the command can be interrupted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.kernel_bugs.bug import Bug, BugError, files_of, write_copy
from bench.kernel_bugs.catalogue import CATALOGUE
from bench.medians import median_told
from bench.runs import Run, load
from shootdown.kernel.text import MAKEFILE, KernelError, release_of, text_at

TREES: Final = Path(".trees")
"""The trees of `make trees`."""
INTERRUPTED: Final = 130


def newest_tree() -> Path:
    """Return the tree of the highest release in TREES.

    Errors: BugError, when there is none.
    """
    trees = [path for path in TREES.glob("[0-9]*.*[0-9]") if path.is_dir()]
    if not trees:
        raise BugError("There is no kernel tree: `make trees` gets some, or --tree names one.")
    return max(trees, key=lambda path: tuple(map(int, path.name.split("."))))


def chosen(names: Sequence[str], files: Mapping[str, str], *, held_out: bool) -> list[Bug]:
    """Return the bugs of these names; without a name all that a text can have, with or without those held out.

    Errors: BugError, for a name that is none, or not of a bug that the text can have.
    """
    there = {bug.name: bug for bug in CATALOGUE.values() if bug.is_in(files)}
    unknown = [name for name in names if name not in there]
    if unknown:
        raise BugError(f"The text cannot have {unknown[0]}; it can have {', '.join(there)}.")
    if names:
        return [there[name] for name in names]
    return [bug for bug in there.values() if held_out or not bug.held_out]


def runs(
    bugs: Sequence[Bug], files: Mapping[str, str], seeds: int, limit: float, done: Sequence[Run]
) -> Iterator[Run]:
    """Yield a run of each bug with each seed that is not done, each in its own process.

    Errors: BugError, before the first run, when a bug cannot be put into the text.
    """
    release = release_of(files.get(MAKEFILE, ""))
    texts = {bug.name: bug.put_into(files) for bug in bugs}
    known = {(run["bug"], run["release"], run["seed"]) for run in done}
    for name, text in texts.items():
        todo = [seed for seed in range(1, seeds + 1) if (name, release, seed) not in known]
        if not todo:
            continue
        with tempfile.TemporaryDirectory(prefix="shootdown-bug-") as folder:
            tree = write_copy(text, Path(folder, "tree"))
            for seed in todo:
                yield {"release": release, **hunt(tree, name, seed, limit, Path(folder))}


def hunt(tree: Path, name: str, seed: int, limit: float, cache: Path) -> Run:
    """Carry out one run in its own process, whose compiled C is kept in a folder.

    A process that fails, for example in an execution that does not end, is a run with "failed", its last line.
    """
    command = [sys.executable, "-m", "bench.kernel_bugs.one", str(tree), name, str(seed)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(
        [*command, f"--limit={limit}"], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        failed = f"exit code {done.returncode}: {last}"
        return {"bug": name, "seed": seed, "limit": limit, "found": False, "failed": failed}
    result: Run = json.loads(done.stdout)
    return result


def table(found: Sequence[Run]) -> str:
    """Return the table in Markdown, one row for each bug; medians over all runs, censored ones as the longest."""
    lines = [
        "| bug | rule | must show | showed | executions | CPU seconds | any rule after | records | stories |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for bug in CATALOGUE.values():
        mine = [run for run in found if run["bug"] == bug.name]
        if mine:
            lines.append(_row(bug, mine))
    return "\n".join(lines)


def _row(bug: Bug, mine: Sequence[Run]) -> str:
    failed = [run for run in mine if "failed" in run]
    if failed:
        what = f"the campaign failed ({len(failed)} of {len(mine)})"
        return f"| {bug.name} | {bug.rule} | {bug.reason} | {what} | - | - | - | - | - |"
    came = [run for run in mine if run["found"]]
    reasons = ", ".join(sorted({str(run["reason"]) for run in came})) or "-"
    records = ", ".join(sorted({str(run["records"]) for run in came})) or "-"
    shown = f"{reasons} ({len(came)} of {len(mine)})"
    medians = f"{median_told(mine, 'executions', 0)} | {median_told(mine, 'seconds', 2)}"
    stories = mine[0]["stories"]
    # One cause breaks several rules, and a campaign shows whatever it breaks first.
    sooner = [
        {**run, **(first if isinstance(first := run.get("any"), dict) else {})} for run in mine
    ]
    medians += f" | {median_told(sooner, 'executions', 0)}"
    return (
        f"| {bug.name} | {bug.rule} | {bug.reason} | {shown} | {medians} | {records} | {stories} |"
    )


def main() -> int:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument(
        "--tree", type=Path, help="a kernel tree; the newest of .trees/ if not given"
    )
    parser.add_argument("--limit", type=float, default=60.0, help="CPU seconds of one run")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--held-out", action="store_true", help="run those too that are held out")
    parser.add_argument("--out", type=Path, help="a file of JSON lines")
    options = parser.parse_args()
    found: list[Run] = load(options.out) if options.out else []
    try:
        files = files_of(text_at(options.tree or newest_tree()))
        bugs = chosen(options.names, files, held_out=options.held_out)
        for run in runs(bugs, files, options.seeds, options.limit, tuple(found)):
            found.append(run)
            line = json.dumps(run)
            print(line, flush=True)
            if options.out:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                with options.out.open("a") as out:
                    out.write(line + "\n")
    except (BugError, KernelError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(table(found))
        return INTERRUPTED
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
