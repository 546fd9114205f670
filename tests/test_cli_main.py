"""The command as a whole: help, wrong usage, and what the user reads when the program itself fails."""

import os
import pkgutil
import subprocess
import sys
import tempfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from shootdown import cli, form
from shootdown.cli import main
from shootdown.store import find_campaign, open_store
from tests.command import SHOOTDOWN, complaint, inside, shootdown

ROOMS = "import sys; from shootdown.cli.main import run; run(sys.argv[1:]); print(*sys.modules)"


def resolved(name: str) -> click.Command:
    """Return the command that the first word of a command line calls."""
    _, command, _ = main.cli.resolve_command(click.Context(main.cli), [name])
    assert command is not None
    return command


def test_every_command_is_listed() -> None:
    """The modules of cli/ that have a command are those of the help text."""
    modules = [
        import_module(f"{cli.__name__}.{found.name}")
        for found in pkgutil.iter_modules(cli.__path__)
    ]
    having = {
        module.__name__.rpartition(".")[2]
        for module in modules
        if isinstance(getattr(module, "command", None), click.Command)
    }

    assert having == main.COMMANDS.keys()


@pytest.mark.parametrize("name", main.COMMANDS)
def test_summary_begins_the_help(name: str) -> None:
    """The help text's summary of a command is the beginning of the command's own help."""
    assert " ".join((resolved(name).help or "").split()).startswith(main.COMMANDS[name])


def test_help_and_errors_import_no_room(tmp_path: Path) -> None:
    """The help text, and a command that does not exist, load nothing of the models, the engines or the database."""
    for arguments in (["--help"], ["nothing"]):
        done = subprocess.run(
            [sys.executable, "-c", ROOMS, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        loaded = done.stdout.split("\n")[-2].split()
        rooms = {name.split(".")[1] for name in loaded if name.startswith("shootdown.")}
        assert rooms == {"cli", "form", "system"}


def test_policies_and_findings_load_no_engine(tmp_path: Path) -> None:
    """A list of policies loads no database, and the commands that look into one neither run nor fuzz anything."""
    for arguments, foreign in (
        (["policies", "linux"], {"sqlite_utils", "hypothesis", "atheris"}),
        (["findings", "query"], {"shootdown.run.execute", "hypothesis", "atheris"}),
        (["fuzz", "--help"], {"hypothesis", "atheris"}),
    ):
        done = subprocess.run(
            [sys.executable, "-c", ROOMS, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        loaded = set(done.stdout.split("\n")[-2].split())
        assert "click" in loaded
        assert loaded & foreign == set()


def test_help_names_every_command(tmp_path: Path) -> None:
    """The help text has one line for each command and ends with 0."""
    result = shootdown(tmp_path, "--help")

    assert result.code == 0
    for name in main.COMMANDS:
        assert any(line.split()[:1] == [name] for line in result.out.splitlines())


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    """Every command says what it does, and so does every option."""
    command = resolved(name)
    commands = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]

    for one in commands:
        assert one.help
        for option in one.params:
            assert not isinstance(option, click.Option) or option.help, (one.name, option.name)


def test_version(tmp_path: Path) -> None:
    """The version is that of the installed package, and says in which form the models run."""
    said = shootdown(tmp_path, "--version").out.split(maxsplit=2)
    assert said == ["shootdown", version("shootdown"), f"({form.described()})\n"]


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("shootdown fi", "findings"),
        ("shootdown fuzz --pol", "--policy"),
        ("shootdown findings sq", "sql"),
    ],
)
def test_completion(tmp_path: Path, words: str, completed: str) -> None:
    """A shell that asks is told how a command line may go on, for every command and its options."""
    asked = {"_SHOOTDOWN_COMPLETE": "bash_complete", "COMP_WORDS": words}
    asked["COMP_CWORD"] = str(len(words.split()) - 1)
    done = subprocess.run(
        [SHOOTDOWN],
        cwd=tmp_path,
        env=os.environ | asked,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == [f"plain,{completed}"]


def test_unknown_command(tmp_path: Path) -> None:
    """An unknown command is one sentence and exit code 2."""
    assert "No such command 'fuz'" in complaint(tmp_path, "fuz")


@pytest.mark.parametrize("arguments", [(), ("findings",)])
def test_nothing_asked_for(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Without a command the help text is shown as it is, line by line, and the exit code is 2."""
    ended = inside(tmp_path, *arguments)

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(" ".join(["Usage: shootdown", *arguments]))
    assert "\n  list" in ended.err or "\n  replay" in ended.err


def test_unknown_option(tmp_path: Path) -> None:
    """An unknown option is one sentence that names the command, and exit code 2."""
    line = complaint(tmp_path, "policies", "--jsn")

    assert line.startswith("shootdown policies: No such option")


@pytest.fixture
def _defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """End every command with an unexpected exception."""

    def fail(*_: object, **__: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(main.cli, "invoke", fail)


@pytest.mark.usefixtures("_defect")
def test_defect_becomes_a_sentence_and_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unexpected exception ends with 3; the user reads one line, and the traceback is in the file that it names."""
    monkeypatch.delenv("SHOOTDOWN_DEBUG", raising=False)

    code = main.run(["policies"])

    (line,) = capsys.readouterr().err.splitlines()
    path = Path(line.partition("The traceback is in ")[2].partition(";")[0])
    assert (code, "KeyError: 'lost'" in line) == (3, True)
    assert "Traceback" in path.read_text()
    path.unlink()


@pytest.mark.usefixtures("_defect")
def test_defect_without_a_temporary_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the traceback cannot be kept, an unexpected exception is still one line and exit code 3."""
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")
    monkeypatch.delenv("SHOOTDOWN_DEBUG", raising=False)

    assert main.run(["policies"]) == 3
    assert capsys.readouterr().err == (
        "shootdown: internal error: KeyError: 'lost'. SHOOTDOWN_DEBUG=1 shows the traceback here.\n"
    )


@pytest.mark.usefixtures("_defect")
def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With SHOOTDOWN_DEBUG=1 the traceback of an unexpected exception is on standard error."""
    monkeypatch.setenv("SHOOTDOWN_DEBUG", "1")

    code = main.run(["policies"])

    assert code == 3
    assert "Traceback" in capsys.readouterr().err


def run_into(folder: Path, output: int, *arguments: str) -> tuple[int, bytes]:
    """Return the exit code of the installed command and its standard error, with that descriptor as standard output."""
    result = subprocess.run(
        [SHOOTDOWN, *arguments],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=output,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(output)
    return result.returncode, result.stderr


def closed_pipe() -> int:
    """Return the writing end of a pipe without a reader."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


ANY = [("policies",), ("--help",), ("findings", "--help"), ("findings", "query", "--json")]
CAMPAIGN = (
    *("fuzz", "--policy", "v1", "--engine", "random", "--workers", "1"),
    *("--for", "50s", "--name", "cut"),
)


@pytest.mark.parametrize("arguments", ANY)
def test_reader_that_goes_away(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """When the reader of the output is gone, the command ends without a message."""
    assert run_into(tmp_path, closed_pipe(), *arguments) == (141, b"")


@pytest.mark.parametrize("arguments", ANY)
def test_output_that_cannot_be_written(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """If there is no room for the output, one sentence says so, with exit code 3."""
    code, error = run_into(tmp_path, os.open("/dev/full", os.O_WRONLY), *arguments)

    assert (code, error) == (
        3,
        b"shootdown: the output cannot be written: No space left on device.\n",
    )


def test_no_output_at_all(tmp_path: Path) -> None:
    """A command that was started without a standard output says so and does nothing."""
    result = subprocess.run(
        ["sh", "-c", 'exec "$0" policies >&-', SHOOTDOWN],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    assert (result.returncode, result.stderr) == (3, b"shootdown: standard output is closed.\n")


def test_campaign_whose_reader_goes_away(tmp_path: Path) -> None:
    """A campaign ends with its reader: interrupted, with its findings stored and no temporary files left."""
    assert run_into(tmp_path, closed_pipe(), *CAMPAIGN, "--quiet") == (141, b"")

    assert [path.name for path in tmp_path.iterdir()] == ["findings.db"]
    with open_store(tmp_path / "findings.db", create=False, readonly=True) as store:
        campaign = find_campaign(store, "cut")
    assert (campaign.status, campaign.findings) == ("interrupted", 1)
