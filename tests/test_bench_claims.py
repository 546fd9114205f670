"""The claims about Linux and the architecture: what counts as a claim and as a witness, and that every
claim has one.
"""

from pathlib import Path

import pytest

from bench import claims
from bench.claims import Claim, Scope


def of(text: str, scope: Scope = Scope.ALL) -> list[Claim]:
    """Return the claims of a section with this scope."""
    return list(claims.claims("page.md", f"# A section\n\n{text}\n", {"A section": scope}))


def unwitnessed(text: str, scope: Scope = Scope.ALL) -> list[str]:
    """Return the claims of a section that name no witness."""
    return [claim.sentence for claim in of(text, scope) if not claim.kinds]


def test_every_claim_has_a_witness() -> None:
    """No sentence of the documents about Linux or the architecture lacks one, and every one is understood."""
    every = claims.found()

    documents = {claim.place.partition(":")[0] for claim in every}
    assert {"README.md", "docs/correctness.md", "docs/linux-tlb.md"} <= documents
    assert claims.OTHERS.keys() <= claims.DOCUMENTS.keys()
    assert claims.complaints(every) == []


def test_witnesses_of_every_kind_are_read() -> None:
    """The kinds come from the parts between the semicolons, and a text says its releases, file and names."""
    sentence = (
        "So it is [6.1 7.3: mm/a-b.c one, !two; commit 99baac21e458; SDM 4.10.4.1; APM 5.5; mail v1; live 6.18;"
        " assumption: nobody looked]."
    )

    kinds, texts, malformed = claims.witnesses(sentence)

    assert kinds == set(claims.KINDS)
    assert texts == (claims.Text(("6.1", "7.3"), "mm/a-b.c", ("one", "!two")),)
    assert malformed == ()


@pytest.mark.parametrize(
    "bracket",
    [
        "6.1 mm/a.c one",
        "6.1: mm/a.c",
        "commit 99baac21",
        "SDM four",
        "6.1: mm/a.c one; page 3",
        "mail",
    ],
)
def test_what_is_no_witness_is_reported(bracket: str) -> None:
    """A bracket that looks like a witness and is none is a complaint, not a word of the sentence."""
    [claim] = of(f"Linux flushes [{bracket}].")

    assert claims.complaints([claim])


@pytest.mark.parametrize("bracket", ["FREE|DONTNEED", "RFC 03/20", "link](page.md)"])
def test_other_brackets_are_words(bracket: str) -> None:
    """The brackets of titles and links are neither witnesses nor mistakes."""
    assert claims.witnesses(f'"MADV_[{bracket}]" (2017)') == (frozenset(), (), ())


def test_in_a_section_of_facts_every_sentence_is_a_claim() -> None:
    """Each sentence of a line and each item needs its own witness; what begins with "The model:" needs none."""
    assert unwitnessed("It flushes. It waits [SDM 4.8].\nThe model: it waits.") == ["It flushes."]
    assert unwitnessed("- it flushes [SDM 4.8]\n- it waits\n1. it returns") == [
        "it waits",
        "it returns",
    ]


def test_elsewhere_a_sentence_is_a_claim_when_it_names_linux() -> None:
    """A name counts, also after "The model:"; a title between quotes and a word between backticks does not."""
    for naming in (
        "Linux waits.",
        "x86 waits.",
        "So 99baac21e458 does.",
        "The model: Linux waits.",
    ):
        assert unwitnessed(naming, Scope.NAMING) == [naming]
    for other in (
        "The policy waits.",
        'As "x86/mm: wait" does.',
        "`Linux` waits.",
        "On x86-64 pages.",
    ):
        assert of(other, Scope.NAMING) == []
    assert unwitnessed("The model: Linux waits.") == ["The model: Linux waits."]


def test_a_section_may_be_left_out() -> None:
    """Below a heading without a scope nothing is a claim, until a heading has a scope."""
    text = "Linux waits.\n\n## How\n\nLinux waits.\n\n## B facts\n\nIt waits."
    scopes = {"": Scope.NONE, "B ": Scope.ALL}

    assert [claim.place for claim in claims.claims("page.md", text, scopes)] == ["page.md:9"]


def test_a_row_is_a_claim_and_the_head_of_a_table_is_not() -> None:
    """The cells of a row are one claim, wherever its witness is."""
    table = (
        "| what | witness |\n| --- | --- |\n| it waits. It returns | [SDM 4.8] |\n| it flushes | |"
    )

    assert unwitnessed(table) == ["| it flushes | |"]


def test_a_line_with_a_colon_gives_its_witness_on() -> None:
    """It covers the rest of its paragraph, or the list or table after it, and nothing later."""
    paragraph = "A bug [commit 99baac21e458]:\nIt waits.\n\nIt returns."
    items = "These wait [SDM 4.8]:\n\n- one\n- two\n\nIt returns."

    assert unwitnessed(paragraph) == unwitnessed(items) == ["It returns."]


def test_a_list_of_the_model_is_a_list_of_no_claims() -> None:
    """What a sentence of the model introduces needs a witness only where it names Linux."""
    assert unwitnessed(
        "The model: these are absent:\n\n- one\n- two, as in Linux\n\nIt waits."
    ) == [
        "two, as in Linux",
        "It waits.",
    ]


def test_code_and_generated_tables_claim_nothing() -> None:
    """A fenced block and the table of a bench are skipped."""
    fenced = "```\nLinux waits.\n```"
    generated = (
        "<!-- bench-history: by -->\n\n| Linux |\n\n<!-- bench-history ends -->\n\nLinux waits."
    )

    assert of(fenced) == []
    assert unwitnessed(generated) == ["Linux waits."]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Return a tree of release 6.1 with one file, which defines waits() and flushes()."""
    (tmp_path / "mm").mkdir()
    (tmp_path / "mm/wait.c").write_text("static int waits(void)\n{\n\treturn flushes();\n}\n")
    (tmp_path / "Makefile").write_text("# SPDX\nVERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 192\n")
    return tmp_path


@pytest.mark.parametrize(
    ("witness", "contradicted"),
    [
        ("6.1: mm/wait.c waits, flushes, !wait", []),
        ("6.1: mm/wait.c wait, flushes", ["mm/wait.c of 6.1 has no wait"]),
        ("6.1: mm/wait.c !waits", ["mm/wait.c of 6.1 has waits"]),
        ("6.1 7.3: mm/gone.c waits", ["6.1 has no file mm/gone.c"]),
        ("7.3: mm/wait.c wait", []),
    ],
)
def test_trees_are_asked_for_the_names(
    release: Path, witness: str, contradicted: list[str]
) -> None:
    """A name is a whole identifier of the file; a release without a tree is not judged."""
    found = claims.contradictions(of(f"It waits [{witness}]."), {"6.1": release})

    assert found == [f"page.md:3: {line}" for line in contradicted]


def test_a_tree_says_its_release_or_is_told(release: Path, tmp_path: Path) -> None:
    """The Makefile decides unless the argument names the release; a tree without either is refused."""
    assert claims.tree(str(release)) == ("6.1", release)
    assert claims.tree(f"7.3={release}") == ("7.3", release)
    (release / "Makefile").unlink()
    for wrong in (str(release), str(tmp_path / "none")):
        with pytest.raises(SystemExit, match="2"):
            claims.main([wrong])


def test_exit_code_says_whether_something_is_wrong(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All documents are in order, and a tree without any of their files contradicts them."""
    assert claims.main([]) == 0
    assert "no witness" not in capsys.readouterr().out
    assert claims.main([str(release)]) == 1
    assert "6.1 has no file mm/mprotect.c" in capsys.readouterr().out
