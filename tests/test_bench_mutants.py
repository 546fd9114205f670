"""The mutants of the models: which there are, that a selection is fixed, and what a run and its report say."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from bench.forms import interpreted
from bench.mutants import differ
from bench.mutants.control import control
from bench.mutants.edits import KINDS
from bench.mutants.judged import Judgement, judgements
from bench.mutants.mutant import FOLDERS, SPARED, Mutant, mutants_in, mutants_of, mutated, selected
from bench.mutants.one import LEGAL, UNMUTATED, Result
from bench.mutants.report import compared, report
from bench.mutants.runs import load, run

ROOT = Path(__file__).resolve().parents[1]
FILE = "mm/toy.py"


@cache
def every_mutant() -> list[Mutant]:
    """Return all mutants of this tree."""
    return mutants_in(ROOT)


def changed(source: str, kind: str) -> set[str]:
    """Return what the mutants of a kind make of the last line or lines of a function."""
    before = set(ast.unparse(ast.parse(source)).splitlines())
    found = set()
    for mutant in mutants_of(FILE, source):
        if mutant.kind == kind:
            lines = ast.unparse(mutated(FILE, source, mutant.name)).splitlines()
            found.add("; ".join(line.strip() for line in lines if line not in before))
    return found


@pytest.mark.parametrize(
    ("kind", "body", "results"),
    [
        (
            "drop-step",
            "push(w, cpu, (a, 1), *more, (b,))",
            {
                "push(w, cpu, *more, (b,))",
                "push(w, cpu, (a, 1), (b,))",
                "push(w, cpu, (a, 1), *more)",
            },
        ),
        ("drop-step", "push(w, cpu, (a, 1))", set()),
        ("drop-step", "return [(a, 1), (b,)]", {"return [(a, 1)]", "return [(b,)]"}),
        (
            "swap-steps",
            "push(w, cpu, (a,), (b,), (c,))",
            {"push(w, cpu, (b,), (a,), (c,))", "push(w, cpu, (a,), (c,), (b,))"},
        ),
        ("negate", "while not w.lock:\n  w.lock = 1", {"while w.lock:"}),
        ("negate", "x = 1 if w.lock else 2", {"x = 1 if not w.lock else 2"}),
        ("negate", "if a < b:\n  w.lock = 1", {"if a >= b:"}),
        ("negate", "x = [i for i in y if i]", {"x = [i for i in y if not i]"}),
        ("drop-condition", "if w.lock:\n  w.lock = 1", {"if True:"}),
        ("drop-condition", "x = [i for i in y if i]", {"x = [i for i in y]"}),
        ("drop-operand", "x = a and b", {"x = True and b", "x = a and True"}),
        ("drop-operand", "x = a or b", {"x = False or b", "x = a or False"}),
        ("shift-compare", "x = a < b", {"x = a <= b"}),
        ("shift-compare", "x = a >= 2", {"x = a > 2", "x = a >= 3"}),
        ("shift-compare", "x = a == b", {"x = a != b"}),
        ("drop-call", "put_page(w, frame)\nw.x = 1", {""}),
        ("drop-call", "put_page(w, frame)", {"pass"}),
    ],
)
def test_each_kind_of_change(kind: str, body: str, results: set[str]) -> None:
    """A kind changes every place that it applies to, and nothing else."""
    source = "def f(w, cpu):\n" + "\n".join(f"    {line}" for line in body.splitlines())
    assert changed(source, kind) == results


def test_a_guard_that_leaves_is_dropped_with_its_condition() -> None:
    """To go on where the function would have returned is the effect of a forgotten check."""
    source = "def f(w):\n    if w.lock:\n        return\n    w.lock = 1"
    (name,) = [each.name for each in mutants_of(FILE, source) if each.kind == "drop-condition"]
    assert "return" not in ast.unparse(mutated(FILE, source, name))


@pytest.mark.parametrize(
    "body",
    [
        "w.observer.freed(frame)",
        "for i in x:\n  w.observer.visit(cpu, i, a == b)",
        "if a and b:\n  w.observer.visit(cpu)",
        "assert a < b and c",
        "w.costs[a == b] += 1",
        '"""What it does."""',
    ],
)
def test_what_a_model_says_is_left_alone(body: str) -> None:
    """The observer's lines, the code that only decides about them, and assertions are not changed."""
    source = "def f(w, cpu):\n" + "\n".join(f"    {line}" for line in body.splitlines())
    assert mutants_of(FILE, source) == []


def test_a_name_outlives_an_edit_elsewhere() -> None:
    """It is made of the function and the text that is changed."""
    source = "def f(w):\n    put(w)\n    put(w)\n"
    edited = '"""More."""\n\ndef g(w):\n    get(w)\n\n' + source.replace(
        "(w):\n", "(w):\n    # Why.\n"
    )
    names = [mutant.name for mutant in mutants_of(FILE, source)]
    assert names == ["mm/toy.py:f drop-call put(w)"]
    assert set(names) <= {mutant.name for mutant in mutants_of(FILE, edited)}


def test_two_places_with_the_same_text_have_two_names() -> None:
    """They have two names as long as they are not the same change."""
    source = "def f(w):\n    put(w)\n    w.x = 1\n    put(w)\n"
    first, second = [mutant.name for mutant in mutants_of(FILE, source)]
    assert second == f"{first} #2"
    assert ast.unparse(mutated(FILE, source, first)) != ast.unparse(mutated(FILE, source, second))


def test_a_selection_is_fixed_and_has_every_file_and_kind() -> None:
    """The same seed selects the same mutants, another one others; names are unique and in what is under test."""
    mutants = every_mutant()
    names = {mutant.name for mutant in mutants}
    chosen = selected(mutants, 240, 1)
    assert len(names) == len(mutants)
    assert len(chosen) == 240
    assert chosen == selected(list(reversed(mutants)), 240, 1)[::-1]
    assert chosen != selected(mutants, 240, 2)
    assert {mutant.file for mutant in chosen} == {mutant.file for mutant in mutants}
    assert {mutant.kind for mutant in chosen} == set(KINDS)
    assert {mutant.folder for mutant in chosen} == set(FOLDERS)
    assert not {mutant.function.rsplit(".", maxsplit=1)[-1] for mutant in mutants} & SPARED


def test_a_selection_survives_an_edit() -> None:
    """Without one file's mutants, hardly any other one is selected differently."""
    mutants = every_mutant()
    rest = [mutant for mutant in mutants if mutant.file != "mm/zap.py"]
    chosen = {each.name for each in selected(mutants, 240, 1) if each.file != "mm/zap.py"}
    assert len(chosen & {each.name for each in selected(rest, 240, 1)}) == len(chosen)


def one(name: str, seconds: float) -> Result:
    """Run a mutant in a process of its own."""
    command = [sys.executable, "-m", "bench.mutants.one", name, f"--seconds={seconds}"]
    done = subprocess.run(
        command, cwd=ROOT, env=interpreted(), capture_output=True, text=True, check=True
    )
    result: Result = json.loads(done.stdout)
    return result


def named(beginning: str) -> str:
    """Return the name of the only mutant whose name begins so."""
    file = beginning.split(":", maxsplit=1)[0]
    every = mutants_of(file, (ROOT / file).read_text())
    (name,) = [each.name for each in every if each.name.startswith(beginning)]
    return name


FLUSH = named("optimized/gathers.py:GatherStrategy.finish_steps drop-step *self.flush_of(gather)")


@pytest.mark.parametrize(
    ("name", "verdict", "reason"),
    [
        (FLUSH, "killed", ""),
        (
            named("optimized/gathers.py:GatherStrategy.finish_steps drop-step (gather_end,)"),
            "killed",
            "pending-never-zero",
        ),
        (
            named("mm/operation.py:gather_begin drop-call w.flush.gather_begin"),
            "crashed",
            "AssertionError: gather_of",
        ),
    ],
)
def test_an_obvious_mutant_is_found(name: str, verdict: str, reason: str) -> None:
    """Killed by a rule or by an exception; the models as they are stay quiet on the same inputs."""
    result = one(name, 60)
    assert result["verdict"] == verdict
    assert not reason or result["reason"] == reason
    assert list(control([result])) == []
    assert list(control([result | {"scenario": ""}])) == [
        f"{name}: the inputs are not the same any more"
    ]


def test_no_mutant_and_an_equivalent_one_are_legal() -> None:
    """A change that makes no difference shows none, up to the limit."""
    for name in (
        named("mm/munmap.py:unmap_region drop-condition mask"),
        UNMUTATED,
    ):
        result = one(name, 1)
        assert result["verdict"] == LEGAL
        assert int(str(result["executions"])) > 0


@pytest.mark.parametrize(
    ("name", "told"),
    [(named("mm/shrink.py:shrink_huge_zero drop-operand or first < 0"), "0 of 100"), (FLUSH, "")],
)
def test_states_differ_where_behaviour_does(
    name: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutant that does something else ends in other states, one that does the same does not."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["differ", name, "--count=100"])
    differ.main()
    count = capsys.readouterr().out.removeprefix(f"{name}: ").split(" runs")[0]
    assert count == told or (not told and count != "0 of 100")


def test_a_file_of_results_is_continued(tmp_path: Path) -> None:
    """A mutant that was found is not run again; one that was legal for a shorter time is, and its last
    result counts.
    """
    out = tmp_path / "mutants.jsonl"
    legal = {"mutant": FLUSH, "verdict": "legal", "limit": 60}
    out.write_text(json.dumps({"mutant": UNMUTATED, "verdict": "killed"}) + "\n")
    out.write_text(out.read_text() + json.dumps(legal) + "\n")
    run([UNMUTATED, FLUSH], 60, 1, 1, out)
    assert [each["verdict"] for each in load(out)] == ["killed", "legal"]
    run([UNMUTATED, FLUSH], 61, 1, 1, out)
    assert [(each["mutant"], each["verdict"]) for each in load(out)] == [
        (UNMUTATED, "killed"),
        (FLUSH, "killed"),
    ]


def result_of(name: str, verdict: str, executions: int = 9) -> Result:
    """Return a result as a run writes it."""
    rule = "C1" if verdict == "killed" else ""
    return {
        "mutant": name,
        "verdict": verdict,
        "rule": rule,
        "executions": executions,
        "seconds": executions / 1000,
    }


def test_the_report_counts_what_is_left_when_no_loss_is_taken_out() -> None:
    """Equivalent and costly mutants are in no share; mutants without a judgement count as missed."""
    results = [
        result_of("mm/a.py:f negate x", "killed", 5),
        result_of("mm/a.py:f negate y", "killed", 7000),
        result_of("mm/a.py:f drop-call z()", "crashed"),
        result_of("mm/a.py:g negate x", "legal"),
        result_of("machine/b.py:h negate x", "legal"),
        result_of("machine/b.py:h negate y", "legal"),
        result_of("machine/b.py:h negate z", "legal"),
    ]
    judged = {
        "mm/a.py:g negate x": Judgement("equivalent", "It is the same."),
        "machine/b.py:h negate x": Judgement("costly", "It is slower."),
        "machine/b.py:h negate y": Judgement("unseen", "Nobody looks."),
        "mm/gone.py:f negate x": Judgement("unseen", "Nobody looks."),
        "mm/a.py:f negate y": Judgement("equivalent", "It is the same."),
    }
    told = report(results, judged)
    assert "| negate | 6 | 2 | 0 | 4 | 1 | 1 | 1 | 1 |" in told
    assert "| machine | 3 | 0 | 0 | 3 | 0 | 1 | 1 | 1 |" in told
    assert "| all | 7 | 2 | 1 | 4 | 1 | 1 | 1 | 1 |" in told
    assert (
        "only costly: 5; found: 3 of 5 (60.0 %); without those that crash: 2 of 4 (50.0 %)" in told
    )
    assert "median 5, slowest 7,000; slowest 7.0 CPU s" in told
    assert "Judged as a legal one, and found:\n\n- `mm/a.py:f negate y`: equivalent, killed" in told
    assert "Judged, and not among the results:\n\n- `mm/gone.py:f negate x`" in told
    assert "- `machine/b.py:h negate y` (9 executions). Nobody looks." in told


def test_two_files_are_compared_mutant_by_mutant() -> None:
    """A mutant that is in one of them alone is in no count."""
    before = [result_of("a", "legal"), result_of("b", "legal"), result_of("c", "killed")]
    after = [result_of("a", "killed"), result_of("b", "legal"), result_of("d", "killed")]
    told = compared(before, after)
    assert "| legal | 1 | 0 | 1 |" in told
    assert "- `a`: legal, now killed" in told
    assert "- `c`: killed, now gone" in told


def test_every_judgement_has_a_word_and_a_sentence(tmp_path: Path) -> None:
    """The file that ships is read, and one without a reason is refused."""
    assert all(judgement.why.endswith(".") for judgement in judgements().values())
    path = tmp_path / "judged.tsv"
    path.write_text(
        "mm/a.py:f negate x\tequivalent\tIt is the same.\nmm/a.py:f negate y\tfine\tNo.\n"
    )
    with pytest.raises(ValueError, match="line 2"):
        judgements(path)
