"""The documents and the code agree: citations, commits, tables, names and command lines."""

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import click
import pytest

from shootdown.cli.main import cli
from shootdown.fuzz.engines.registry import DEFAULT_ENGINE, ENGINES
from shootdown.machine import entry
from shootdown.mm.operations import BY_NAME
from shootdown.optimized.policies import REGISTRY
from shootdown.scenario import kinds
from shootdown.scenario.verdict import REASONS, UNDECIDED_REASONS
from tests.test_repository import ROOT, repository_files

CRITERION = "docs/correctness.md"
FACTS = "docs/linux-tlb.md"
PAGES = sorted(str(path) for path in repository_files() if path.match("*.md"))

REFERENCE = r"(?:part )?[A-G](?:\.\d+)?(?: \(\d\))?(?: (?:defect|rule|entry) \d+)?(?![\w.]\w)"
FACTS_CITED = re.compile(rf"linux-tlb(?:\.md)?,? ({REFERENCE}(?:(?:,| and) {REFERENCE})*)")
FACTS_NAMED = re.compile(r"linux-tlb(?!\.md)")
CRITERION_CITED = re.compile(r"correctness\.md (?:sections? )?(\d)(?: to (\d))?")
COMMIT = re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{12}\b")
SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9.]+)+")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    """Return the text of a document as it is now."""
    return (ROOT / name).read_text()


def prose(path: Path) -> str:
    """Return the text of a file with its line breaks, and the comment marks after them, replaced by spaces."""
    return re.sub(r"\s*\n\s*#?\s*", " ", (ROOT / path).read_text(errors="replace"))


def sources() -> list[Path]:
    """Return every file that may cite, except this one."""
    suffixes = {".md", ".mk", ".py", ".toml", ".txt"}
    here = Path("tests/test_docs.py")
    return [path for path in repository_files() if path.suffix in suffixes and path != here]


def sections(text: str) -> dict[str, str]:
    """Return the text below each heading of a document, by the letter or number that the heading begins with."""
    parts = re.split(r"^#+ (.*)$", text, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        mark = re.match(r"[A-G]\.\d+(?: \(\d\))?(?= )|[A-G](?= )|\d(?= )", heading)
        if mark:
            assert mark[0] not in found, f"two headings {mark[0]}"
            found[mark[0]] = body
    return found


def anchors() -> set[str]:
    """Return what a citation of the facts may name: sections, and the defects, rules and entries in them."""
    found = set()
    for mark, body in sections(page(FACTS)).items():
        found |= {mark, f"part {mark}"}
        for number in re.findall(r"^(\d+)\. ", body, re.MULTILINE):
            found |= {f"{mark} defect {number}", f"{mark} rule {number}"}
        for number in re.findall(r"^\*\*Entry (\d+)\*\*", body, re.MULTILINE):
            found.add(f"{mark} entry {number}")
    return found


def rows(text: str, columns: int) -> Iterator[list[str]]:
    """Yield the cells of every table row with that many columns, headings included."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == columns and set(line) - set("|- "):
            yield cells


def test_cited_facts_exist() -> None:
    """Every section, defect, rule and entry of docs/linux-tlb.md that is cited anywhere is in it."""
    known = anchors()
    cited = [
        (str(path), reference)
        for path in sources()
        for match in FACTS_CITED.finditer(prose(path))
        for reference in re.findall(REFERENCE, match[1])
    ]

    assert len(cited) > 40
    assert [place for place in cited if place[1] not in known] == []


def test_the_processor_cites_each_of_its_rules() -> None:
    """`machine/` cites every rule of the simulated processor (D.3): a rule without a citation is not written there."""
    cited = {
        reference
        for path in sources()
        if path.parts[0] == "machine"
        for match in FACTS_CITED.finditer(prose(path))
        for reference in re.findall(REFERENCE, match[1])
    }

    assert {anchor for anchor in anchors() if anchor.startswith("D.3 rule")} - cited == set()


def test_citations_of_facts_are_understood() -> None:
    """A text that names linux-tlb without its ending .md also names what to read there."""
    vague = [
        f"{path}: {text[match.start() : match.start() + 60]}"
        for path in sources()
        for text in [prose(path)]
        for match in FACTS_NAMED.finditer(text)
        if not FACTS_CITED.match(text, match.start())
    ]

    assert vague == []


def test_cited_sections_of_the_criterion_exist() -> None:
    """Every section of docs/correctness.md that is cited anywhere is in it, and so is every rule."""
    text = page(CRITERION)
    cited = {
        number
        for path in sources()
        for match in CRITERION_CITED.finditer(prose(path))
        for number in match.groups()
        if number
    }

    assert cited
    assert cited <= sections(text).keys()
    for rule in {rule for rule, _ in REASONS.values()}:
        assert f"\n**{rule}" in text


def test_cited_commits_are_among_the_facts() -> None:
    """Every commit that the models, the corpus or the other documents cite is in docs/linux-tlb.md."""
    known = set(COMMIT.findall(page(FACTS)))
    folders = {"contract", "corpus", "docs", "machine", "mm", "optimized", "reference"}
    cited = {
        commit
        for path in sources()
        if path.parts[0] in folders or str(path) in PAGES
        for commit in COMMIT.findall((ROOT / path).read_text())
    }

    assert cited
    assert cited - known == set()


def test_operations_are_those_of_the_kernel() -> None:
    """The table of operations names every operation that a scenario can start, and no other."""
    first = sections(page(CRITERION))["1"]
    named = {name for cells in rows(first, 4) for name in re.findall(r"`(\w+)`", cells[0])}

    assert named == BY_NAME.keys()


def test_reasons_are_those_of_the_oracle() -> None:
    """The table of reasons is the closed list, each reason with its rule."""
    second = sections(page(CRITERION))["2"]
    table = {
        cells[0].strip("`"): cells[1]
        for cells in rows(second, 3)
        if cells[1] in {rule for rule, _ in REASONS.values()} and cells[0].strip("`") in REASONS
    }

    assert table == {reason: rule for reason, (rule, _) in REASONS.items()}


def test_seeded_faults_are_those_of_the_registry() -> None:
    """The table of seeded faults is the registry's, each fault with the rule that must catch it."""
    table = {cells[0]: cells[1] for cells in rows(sections(page(CRITERION))["6"], 3)}
    del table["policy"]

    assert table == {
        f"`{name}`": policy.fault.rule for name, policy in REGISTRY.items() if policy.fault
    }


def test_policies_that_ship_have_their_facts() -> None:
    """The facts or the criterion name each policy that is not a seeded fault, between backticks."""
    text = page(FACTS) + page(CRITERION)

    assert [
        name for name, policy in REGISTRY.items() if not policy.fault and f"`{name}`" not in text
    ] == []


COLUMNS = ("v1", "v3", "linux-5.19", "linux", "minimal-exec-check")


def test_single_bit_outcomes_are_those_of_the_rules() -> None:
    """Each number in the table of single-bit changes is what the rule answers."""
    rules = [REGISTRY[name].needs_flush for name in COLUMNS]
    whole = entry.PRESENT | entry.RW | entry.USER | entry.ACCESSED | entry.DIRTY | 5 << 21
    table = {name: answers for name, *answers in rows(sections(page(FACTS))["A.2"], 3)}
    del table["bit"]

    assert len(table) == 16
    for name, answers in table.items():
        bit = 1 << 59 if name == "PKEY" else int(getattr(entry, name))
        without, with_it = whole & ~bit, whole | bit
        expected = [asked(rules, without, with_it), asked(rules, with_it, without)]
        assert answers == expected, name


def asked(rules: list[Callable[[int, int], bool]], old: int, new: int) -> str:
    """Return what the rules answer to one change, as the table writes it."""
    return " ".join(str(int(rule(old, new))) for rule in rules)


@pytest.mark.parametrize("name", PAGES)
def test_corpus_files_exist(name: str) -> None:
    """Every scenario that a document names ships, alone or with its folder and ending."""
    shipped = {
        item.name.removesuffix(".txt")
        for item in resources.files("shootdown.corpus").iterdir()
        if item.name.endswith(".txt")
    }
    named = set(re.findall(r"\b(?:bad|good)_\w+", page(name)))

    assert named - shipped == set()


@pytest.mark.parametrize("name", PAGES)
def test_names_exist(name: str) -> None:
    """Every reason and policy that a document names, between backticks or in a command line, exists."""
    text = page(name)
    known = REGISTRY.keys() | REASONS.keys() | UNDECIDED_REASONS.keys()
    known |= set(kinds.SWITCHES)
    slugs = {word for word in re.findall(r"`([^`\n]+)`", text) if SLUG.fullmatch(word)}
    verdicts = set(re.findall(r"\b(?:C[1-7]|cost) ([a-z]+(?:-[a-z]+)+)\b", text))
    policies = set(re.findall(r"--policy[ =]([a-z][a-z0-9.-]*)(?![\w.:-])", text))
    policies |= set(re.findall(r"^expect (\S+)", text, re.MULTILINE))
    own = {word for word in policies if word.endswith(".py")}

    assert slugs - known == set()
    assert verdicts - REASONS.keys() == set()
    assert policies - own - REGISTRY.keys() == set()


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the arguments of every shootdown command in a document: in a block of shell lines, or between backticks."""
    lines = []
    for language, block in BLOCK.findall(text):
        if language in {"", "console", "sh", "shell"}:
            lines += block.replace("\\\n", " ").splitlines()
    lines += re.findall(r"`(shootdown [^`\n]+)`", BLOCK.sub("", text))
    for line in lines:
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words.pop(0)
        if not words or Path(words[0]).name != "shootdown" or "..." in words:
            continue
        ends = [i for i, word in enumerate(words) if re.fullmatch(r"\d?[|>&;]+\S*", word)]
        yield words[1 : min(ends, default=len(words))]


def complaint(arguments: list[str]) -> str:
    """Return what click finds wrong with a command line, or ""; no command runs and no file is opened."""
    command: click.Command = cli
    context = click.Context(command, info_name="shootdown", **command.context_settings)
    try:
        while True:
            values, rest, given = command.make_parser(context).parse_args(list(arguments))
            # A call for help needs nothing else.
            eager = any(parameter.is_eager for parameter in given)
            for parameter in command.get_params(context):
                name = parameter.name
                missing = name not in values or parameter.value_is_missing(values[name])
                if parameter.required and missing and not eager:
                    raise click.MissingParameter(ctx=context, param=parameter)
                if isinstance(parameter, click.Option) and not missing:
                    parameter.type_cast_value(context, values[name])
            if not isinstance(command, click.Group) or not rest:
                return " ".join(rest)
            called, found, arguments = command.resolve_command(context, rest)
            assert found is not None
            command, context = found, click.Context(found, info_name=called, parent=context)
    except click.UsageError as error:
        return error.format_message()


@pytest.mark.parametrize("name", PAGES)
def test_command_lines_parse(name: str) -> None:
    """Every command line in a document names a command, options and values that exist."""
    wrong = {shlex.join(line): complaint(line) for line in command_lines(page(name))}

    assert {line: why for line, why in wrong.items() if why} == {}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_pages(name: str) -> None:
    """Every link of a document to another file leads to a document, from its place in the repository."""
    here = (ROOT / name).parent
    links = re.findall(r"\]\((?!\w+:|#)([^)\s#]+)", page(name))
    pages = {(ROOT / each).resolve() for each in PAGES}

    assert [link for link in links if (here / link).resolve() not in pages] == []


def test_every_page_is_in_the_navigation() -> None:
    """The site leads to each document, and to nothing else."""
    named = re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", page("mkdocs.yml"), re.MULTILINE)

    assert sorted(named) == sorted(name.removeprefix("docs/") for name in PAGES)


def test_readme_has_command_lines() -> None:
    """The README shows the commands, and the check of command lines sees them and would notice a mistake."""
    assert {line[0] for line in command_lines(page("README.md"))} >= {"fuzz", "findings", "replay"}
    assert "No such option" in complaint(["fuzz", "--polic", "v1"])
    assert "No such command" in complaint(["fuzzz"])
    assert "Missing" in complaint(["lockstep", "--random", "9"])
    assert "Missing" in complaint(["replay"])
    assert "is not one of" in complaint(["findings", "export", "--format", "xml"])


def test_every_switch_has_its_rule() -> None:
    """docs/linux-tlb.md says how each switch changes the rules of the processor or of the kernel."""
    text = page("docs/linux-tlb.md")

    assert [each for each in kinds.SWITCHES if not re.search(f"`(machine )?{each}`", text)] == []


def test_every_engine_is_explained() -> None:
    """The table of docs/campaigns.md has each engine as it is declared."""
    expected = [
        [
            f"`{each.name}`" + ", the default" * (each.name == DEFAULT_ENGINE),
            each.summary,
            "interpreted" if each.instrumented else "compiled",
            "the caller's" if each.in_process else "a worker",
        ]
        for each in ENGINES.values()
    ]

    _, *table = rows(page("docs/campaigns.md"), 4)
    assert table == expected


def test_rooms_are_those_of_the_layers() -> None:
    """The table of CONTRIBUTING.md has the rooms, and the modules of the door, in the order of the layers."""
    contracts = tomllib.loads(page("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = [layer for contract in contracts for layer in contract.get("layers", [])]
    rooms = [re.findall(r"\w+", layer) for layer in layers if layer not in {"__main__", "form"}]
    table = [
        re.findall(r"`(?:shootdown/)?(\w+)(?:/|\.py)`", cells[0])
        for cells in rows(page("CONTRIBUTING.md"), 2)
    ]

    assert [names for names in table if names] == rooms
