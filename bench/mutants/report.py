"""The table of the mutants: killed, crashed, legal, and which of the legal ones are harmless."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from bench.mutants.edits import KINDS
from bench.mutants.judged import COSTLY, EQUIVALENT, UNSEEN, Judgement
from bench.mutants.mutant import FOLDERS
from bench.mutants.one import CRASHED, KILLED, LEGAL, Result

NOT_JUDGED = "not judged"
COLUMNS = ("mutants", KILLED, CRASHED, LEGAL, EQUIVALENT, COSTLY, UNSEEN, NOT_JUDGED)


def report(results: Sequence[Result], judged: Mapping[str, Judgement]) -> str:
    """Return the whole report in Markdown."""
    parts = [
        _table("kind of change", KINDS, results, judged, _kind),
        _table("folder", FOLDERS, results, judged, _folder),
        "\n".join(_summary(results, judged)),
    ]
    for word in (UNSEEN, NOT_JUDGED, COSTLY, EQUIVALENT):
        mine = [result for result in results if column(result, judged) == word]
        if mine:
            lines = [_line(result, judged) for result in mine]
            parts.append("\n".join([f"Legal, {word}:", "", *lines]))
    wrong = [r for r in results if r["verdict"] != LEGAL and str(r["mutant"]) in judged]
    if wrong:
        lines = [
            f"- `{r['mutant']}`: {judged[str(r['mutant'])].word}, {r['verdict']}" for r in wrong
        ]
        parts.append("\n".join(["Judged as a legal one, and found:", "", *lines]))
    stale = sorted(set(judged) - {str(result["mutant"]) for result in results})
    if stale:
        lines = [f"- `{name}`" for name in stale]
        parts.append("\n".join(["Judged, and not among the results:", "", *lines]))
    return "\n\n".join(parts)


def column(result: Result, judged: Mapping[str, Judgement]) -> str:
    """Return the column of COLUMNS in which a result counts, besides those of all and of legal."""
    if result["verdict"] != LEGAL:
        return str(result["verdict"])
    judgement = judged.get(str(result["mutant"]))
    return judgement.word if judgement else NOT_JUDGED


def _kind(result: Result) -> str:
    return str(result["mutant"]).split(" ", maxsplit=2)[1]


def _folder(result: Result) -> str:
    return str(result["mutant"]).split("/", maxsplit=1)[0]


def _table(
    title: str,
    rows: Sequence[str],
    results: Sequence[Result],
    judged: Mapping[str, Judgement],
    row_of: Callable[[Result], str],
) -> str:
    lines = [f"| {title} | {' | '.join(COLUMNS)} |", "| --- " * (len(COLUMNS) + 1) + "|"]
    for row in (*rows, "all"):
        mine = [result for result in results if row in ("all", row_of(result))]
        if mine:
            cells = [str(len(mine)), *[str(_count(mine, judged, each)) for each in COLUMNS[1:]]]
            lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _count(results: Sequence[Result], judged: Mapping[str, Judgement], word: str) -> int:
    return sum(word in {result["verdict"], column(result, judged)} for result in results)


def _summary(results: Sequence[Result], judged: Mapping[str, Judgement]) -> list[str]:
    counts = {word: _count(results, judged, word) for word in COLUMNS[1:]}
    missed = counts[UNSEEN] + counts[NOT_JUDGED]
    found = counts[KILLED] + counts[CRASHED]
    shares = f"{_share(found, missed)}; without those that crash: {_share(counts[KILLED], missed)}"
    lines = [f"- Neither equivalent nor only costly: {found + missed}; found: {shares}."]
    killed = [result for result in results if result["verdict"] == KILLED]
    if killed:
        executions = [int(str(result["executions"])) for result in killed]
        slowest = max(float(str(result["seconds"])) for result in killed)
        lines.append(
            f"- Executions until an illegal outcome: median {statistics.median_low(executions):,}, "
            f"slowest {max(executions):,}; slowest {slowest:.1f} CPU s."
        )
        rules = sorted({str(result["rule"]) for result in killed})
        told = [f"{rule} {sum(result['rule'] == rule for result in killed)}" for rule in rules]
        lines.append(f"- By the rule that it broke: {', '.join(told)}.")
    return lines


def _share(found: int, missed: int) -> str:
    every = found + missed
    return f"{found} of {every} ({100 * found / every:.1f} %)" if every else "none of none"


def _line(result: Result, judged: Mapping[str, Judgement]) -> str:
    name = str(result["mutant"])
    executions = f"{int(str(result['executions'])):,}"
    why = f" {judged[name].why}" if name in judged else ""
    return f"- `{name}` ({executions} executions).{why}"


def compared(before: Sequence[Result], after: Sequence[Result]) -> str:
    """Return how often each verdict became which other, and the mutants whose verdict has changed."""
    first = {str(result["mutant"]): str(result["verdict"]) for result in before}
    last = {str(result["mutant"]): str(result["verdict"]) for result in after}
    both = [name for name in first if name in last]
    words = (KILLED, CRASHED, LEGAL)
    lines = [f"| before | {' | '.join(words)} after |", "| --- " * (len(words) + 1) + "|"]
    for word in words:
        cells = [
            str(sum(first[name] == word and last[name] == now for name in both)) for now in words
        ]
        lines.append(f"| {word} | {' | '.join(cells)} |")
    changed = [name for name in both if first[name] != last[name]]
    lines += ["", *[f"- `{name}`: {first[name]}, now {last[name]}" for name in changed]]
    gone = [name for name in first if name not in last]
    lines += [f"- `{name}`: {first[name]}, now gone" for name in gone]
    return "\n".join(lines)
