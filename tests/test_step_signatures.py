"""Steps have the arguments that their functions name; and the check notices if one has not."""

import ast
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from shootdown.mm.step import NAMES, TAKES
from tests.step_quantities import kind_of, kind_of_name
from tests.step_signatures import (
    misfits,
    problems,
    problems_of_definitions,
    problems_of_pushes,
    words_of,
)
from tests.step_sources import Module, Push, first_statement, pushes, read, sources

DEFINERS = [path for path, module in sources().items() if module.signatures]
MAKERS = [path for path, module in sources().items() if any(pushes(sources(), module))]
MODELS = {path: sources()[path] for path in {*MAKERS, *DEFINERS}}
"""The modules that deal with steps."""
MOST: int = max(len(push.arguments) for module in MODELS.values() for push in module.tuples)
"""The most arguments of a step."""

Text = dict[ast.expr, str]
"""The replacement for expressions."""


def test_every_step_has_the_arguments_that_it_takes() -> None:
    """Every step in the sources has as many arguments, and of the kinds, as its function names.

    Every step is made somewhere, has a name, and says of its arguments what the exhaustive search needs to know.
    """
    assert list(map(str, problems(sources()))) == []


def test_the_sources_are_what_runs() -> None:
    """The registered steps, with what they say that they take, are among the steps that the check finds."""
    found = Counter(
        (step.words, step.takes)
        for module in MODELS.values()
        for step in module.signatures.values()
    )

    assert Counter(zip(NAMES, TAKES, strict=True)) <= found


def replaced(module: Module, changes: Text) -> Module:
    """Return the module with other texts in the place of expressions."""
    lines = module.text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    text = b"".join(lines)
    for node in sorted(changes, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        text = text[:begin] + changes[node].encode() + text[end:]
    return read(module.path, text.decode())


def tuple_of(elements: list[ast.expr]) -> str:
    """Return the text of a tuple."""
    return f"({''.join(f'{ast.unparse(element)}, ' for element in elements)})"


def fixed(module: Module) -> Iterator[Push]:
    """Yield the steps that a module makes of a known number of arguments."""
    for push, signature in pushes(sources(), module):
        starred = any(isinstance(argument, ast.Starred) for argument in push.arguments)
        if signature.arguments and not starred:
            yield push


def without(module: Module, at: int) -> Text:
    """Return each step that has so many arguments without one of them."""
    return {
        push.node: tuple_of([each for i, each in enumerate(push.node.elts) if i != at + 1])
        for push in fixed(module)
        if at < len(push.arguments)
    }


def with_one_more(module: Module, at: int) -> Text:
    """Return each step that has so many arguments with one more before them."""
    return {
        push.node: tuple_of([*push.node.elts[: at + 1], ast.Constant(0), *push.node.elts[at + 1 :]])
        for push in fixed(module)
        if at <= len(push.arguments)
    }


def swapped(module: Module, at: int) -> Text:
    """Return each step that has two different arguments there with these two exchanged."""
    changes: Text = {}
    for push in fixed(module):
        elements = push.node.elts[:]
        pair = elements[at + 1 : at + 3]
        if len({*map(ast.unparse, pair)}) > 1:
            elements[at + 1 : at + 3] = pair[::-1]
            changes[push.node] = tuple_of(elements)
    return changes


def noticed(module: Module, changes: Text) -> list[tuple[Push, bool]]:
    """Return the steps that a change is about, as they were, and whether the check finds something in each that is
    changed.
    """
    before = list(pushes(sources(), module))
    after = list(pushes(sources(), replaced(module, changes)))
    return [
        (push, bool(misfits(*changed)))
        for (push, _), changed in zip(before, after, strict=True)
        if push.node in changes
    ]


@pytest.mark.parametrize("mutate", [without, with_one_more])
@pytest.mark.parametrize("at", range(MOST))
def test_another_number_of_arguments_is_noticed(
    mutate: Callable[[Module, int], Text], at: int
) -> None:
    """At every place where a step is made, one argument less or more, of any kind, is found."""
    tried = [each for module in MODELS.values() for each in noticed(module, mutate(module, at))]

    assert tried
    assert [ast.unparse(push.node) for push, found in tried if not found] == []


@pytest.fixture(scope="module")
def swaps() -> Counter[tuple[bool, bool]]:
    """Return how many exchanges of two neighbouring arguments there are, by whether the two are of different kinds, and
    whether the check notices.
    """
    counts: Counter[tuple[bool, bool]] = Counter()
    for module in MODELS.values():
        signatures = {push.node: signature for push, signature in pushes(sources(), module)}
        for at in range(MOST - 1):
            for push, found in noticed(module, swapped(module, at)):
                names = signatures[push.node].arguments or ()
                counts[len({*map(kind_of_name, names[at : at + 2])}) > 1, found] += 1
    return counts


def test_swapped_arguments_of_different_kinds_are_noticed(
    swaps: Counter[tuple[bool, bool]],
) -> None:
    """Every exchange of two neighbouring arguments of different kinds is found, at every place in the sources."""
    assert swaps[True, True] >= 60
    assert swaps[True, False] == 0


def test_swapped_arguments_of_one_kind_are_noticed_by_their_names(
    swaps: Counter[tuple[bool, bool]],
) -> None:
    """Two frames, or two entries, are distinguished by their names, if these are the names of the arguments."""
    assert swaps[False, True]
    assert swaps[False, False] == 0


@pytest.mark.parametrize("path", MAKERS)
def test_a_code_out_of_sight_is_noticed(path: str) -> None:
    """The code of a step that begins no tuple could get any arguments; in every module such a code is found."""
    module = MODELS[path]
    codes = {push.node.elts[0]: f"int({push.code})" for push, _ in pushes(sources(), module)}

    assert len(problems_of_pushes(sources(), replaced(module, codes))) == len(codes)


def decorated(module: Module) -> Iterator[tuple[ast.FunctionDef, ast.Call]]:
    """Yield the step functions of a module, with what registers each."""
    for node in ast.parse(module.text).body:
        if isinstance(node, ast.FunctionDef) and node.name in module.signatures:
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call):
                    yield node, decorator


def named(module: Module) -> set[str]:
    """Return the step functions in which the check finds something."""
    return {problem.step.name for problem in problems_of_definitions(module)}


@pytest.mark.parametrize("path", DEFINERS)
def test_a_mistyped_registration_is_noticed(path: str) -> None:
    """In every module, a step without a name, with an unknown point, or with one word too few for its arguments is
    found.
    """
    module = MODELS[path]
    names: Text = {}
    points: Text = {}
    words: Text = {}
    having: dict[str, set[str]] = {"points": set(), "words": set()}
    for function, decorator in decorated(module):
        name, *point = decorator.args
        names[name] = '""'
        for each in point:
            points[each] = repr(f"{ast.literal_eval(each)}s")
            having["points"].add(function.name)
        for keyword in decorator.keywords:
            if keyword.arg != "takes":
                continue
            words[keyword.value] = repr(ast.literal_eval(keyword.value).rpartition(" ")[0])
            having["words"].add(function.name)

    assert named(replaced(module, names)) == {*module.signatures}
    assert named(replaced(module, points)) == having["points"]
    assert named(replaced(module, words)) == having["words"]


def unpacked(module: Module) -> Iterator[tuple[ast.FunctionDef, ast.Tuple]]:
    """Yield the step functions that take arguments, with the names that they unpack."""
    for function, _ in decorated(module):
        first = first_statement(function)
        if isinstance(first, ast.Assign) and isinstance(first.targets[0], ast.Tuple):
            yield function, first.targets[0]


@pytest.mark.parametrize("path", DEFINERS)
def test_another_signature_is_noticed(path: str) -> None:
    """In every module, a step function with another signature no longer fits the steps that are made of it, or its
    words.

    The other signature names one argument less, or two neighbouring arguments of different kinds in the other order.
    """
    module = MODELS[path]
    for at in range(-1, MOST - 1):
        changes: Text = {}
        changed: set[str] = set()
        for function, target in unpacked(module):
            names = target.elts[:]
            pair = names[at + 1 : at + 3]
            if at < 0:
                changes[target] = tuple_of(names[:-1])
                changed.add(function.name)
            elif len({*map(kind_of, pair)}) > 1:
                names[at + 1 : at + 3] = pair[::-1]
                changes[target] = tuple_of(names)
                changed.add(function.name)
        found = problems({**MODELS, path: replaced(module, changes)}) if changes else []

        assert {problem.step.name for problem in found} == changed


def test_a_step_that_nothing_pushes_is_noticed() -> None:
    """A module with one additional step, which is never made, is refused."""
    path = "mm/locks.py"
    more = '\n\n@step("unused", "lock")\ndef unused(w: World, cpu: int, s: Step) -> None:\n    _, mm = s\n'

    (problem,) = problems({**MODELS, path: read(path, MODELS[path].text + more)})
    assert str(problem).endswith(": nothing pushes unused")


def test_an_index_beside_the_names_is_noticed() -> None:
    """A step function that takes an argument by its index has a second notation for its signature."""
    path = "mm/locks.py"
    text = MODELS[path].text.replace("w.pmd_lock[mm] = cpu", "w.pmd_lock[s[1]] = cpu")

    assert named(read(path, text)) == {"pmd_lock"}


@pytest.mark.parametrize("code", ["held.pte_lock", "locks.pte_lock", "lock", "other"])
def test_a_step_is_found_under_another_name(code: str) -> None:
    """A step under an alias, or by the name of its module, is the same step."""
    head = (
        "import shootdown.mm.locks as held\n"
        "from shootdown.mm import locks\n"
        "from shootdown.mm.locks import pte_lock as lock\n"
        "other = lock\n"
    )
    right = read("mm/new.py", f"{head}steps = [({code}, mm, index)]\n")
    wrong = read("mm/new.py", f"{head}steps = [({code}, index, mm)]\n")

    assert problems_of_pushes(sources(), right) == []
    assert len(problems_of_pushes(sources(), wrong)) == 2


def test_what_a_problem_says() -> None:
    """A problem has the file, the line, the step, what it expects and what it has instead."""
    text = "from shootdown.mm.locks import pte_lock\nstep = (pte_lock, page, w.ptl[0])\n"
    page, ptl = problems_of_pushes(sources(), read("mm/new.py", text))

    assert str(page) == "mm/new.py:2: pte_lock(mm, index) has page for mm: page for mm"
    assert str(ptl).startswith("mm/new.py:2: pte_lock(mm, index) has w.ptl[0] for index, of which")


def test_the_words_of_arguments() -> None:
    """A step says what it takes if an argument is renamed in another world: one word for each argument."""
    assert words_of(("mm", "page")) == ()
    assert words_of(("mm", "old_page", "new_frame", "pte")) == ("mm", "page", "frame", "entry")
