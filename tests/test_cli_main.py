"""The command as a whole: help, wrong usage, and what the user reads when the program itself fails."""

import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from fuzz.cli import main
from tests.command import SHOOTDOWN, complaint, shootdown


def test_help_names_every_command(tmp_path: Path) -> None:
    """The help text has one line for each command and ends with 0."""
    result = shootdown(tmp_path, "--help")

    assert result.code == 0
    for name in main.COMMANDS:
        assert any(line.split()[:1] == [name] for line in result.out.splitlines())


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    """Every command says what it does, and so does every option of it that is not its own explanation."""
    command = main.cli.get_command(click.Context(main.cli), name)
    assert command is not None
    commands = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]

    for one in commands:
        assert one.help
        for option in one.params:
            assert not isinstance(option, click.Option) or option.help, (one.name, option.name)


def test_version(tmp_path: Path) -> None:
    """The version is that of the installed package."""
    assert shootdown(tmp_path, "--version").out.split() == ["shootdown", version("shootdown")]


def test_unknown_command(tmp_path: Path) -> None:
    """An unknown command is one sentence and exit code 2."""
    assert "No such command 'fuz'" in complaint(tmp_path, "fuz")


def test_unknown_option(tmp_path: Path) -> None:
    """An unknown option is one sentence that names the command, and exit code 2."""
    line = complaint(tmp_path, "policies", "--jsn")

    assert line.startswith("shootdown policies: No such option")


def test_defect_becomes_a_sentence_and_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unexpected exception ends with 3; the user reads one line, and the traceback is in the file that it names."""

    def fail(*_: object, **__: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(main.cli, "invoke", fail)
    monkeypatch.delenv("SHOOTDOWN_DEBUG", raising=False)

    code = main.run(["policies"])

    (line,) = capsys.readouterr().err.splitlines()
    path = Path(line.partition("The traceback is in ")[2].partition(";")[0])
    assert (code, "KeyError: 'lost'" in line) == (3, True)
    assert "Traceback" in path.read_text()
    path.unlink()


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With SHOOTDOWN_DEBUG=1 the traceback of an unexpected exception is on standard error."""

    def fail(*_: object, **__: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(main.cli, "invoke", fail)
    monkeypatch.setenv("SHOOTDOWN_DEBUG", "1")

    code = main.run(["policies"])

    assert code == 3
    assert "Traceback" in capsys.readouterr().err


def test_reader_that_goes_away(tmp_path: Path) -> None:
    """When nobody reads the output any more, the command ends without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [SHOOTDOWN, "policies"],
        cwd=tmp_path,
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)

    assert (result.returncode, result.stderr) == (141, b"")
