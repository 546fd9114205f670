"""The command `shootdown`: it finds the subcommands, and turns every failure into one sentence and an exit code."""

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click
from click.shell_completion import shell_complete

from shootdown import form
from shootdown.cli.exit_codes import HARNESS_FAILED, INTERRUPTED, OK, PIPE_CLOSED, UNUSABLE
from shootdown.system.refusal import Refusal
from shootdown.system.user_error import UserError

COMMANDS: Final = {
    "fuzz": "Run a campaign against a policy",
    "prove": "Explore every interleaving of every sequence of operations within a bound",
    "table": "Tabulate need-flush rules: does a rule flush, and is a flush needed",
    "replay": "Run a scenario again and explain what it shows",
    "findings": "Look into the findings database: list, show, query, sql, export, merge",
    "corpus": "List the scenarios that ship with the tool, or show one",
    "policies": "List the policies, or show all there is to know of one",
    "minimize": "Print the smallest scenario that still shows the same violation",
    "agree": "Compare two policies: their rules over all changes of the flags",
    "lockstep": "Run every operation to completion under a policy and under the reference",
    "conform": "Run the same operations on the models and on another machine",
}
"""The commands in the order of the help text, each with the beginning of its own help.

Each is the module of that name. Asking the modules for their summaries would import all of them: three quarters of a
second.
"""

COMPLETE: Final = "_SHOOTDOWN_COMPLETE"
"""The variable by which a shell asks for completions, with the name that click gives it."""

_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Commands(click.Group):
    """The subcommands: a list shows the summaries from here, and only the wanted module is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help text."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return what a list shows of the command: click needs no more until it resolves one."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        return click.Command(cmd_name, short_help=COMMANDS[cmd_name])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names, and the arguments after it."""
        name, listed, rest = super().resolve_command(ctx, args)
        if listed is None:
            return name, None, rest
        return name, import_module(f"shootdown.cli.{name}").command, rest


@click.command(cls=Commands, context_settings=_SETTINGS)
@click.version_option(
    package_name="shootdown", message=f"%(prog)s %(version)s ({form.described()})"
)
def cli() -> None:
    """Tell whether a TLB flush may be skipped, or put off.

    A policy (a flush-skipping rule with its batching) runs beside a reference that flushes every CPU at each PTE
    change. An outcome that is not allowed becomes a finding: minimized, stored, and replayed by one command.
    """


def main() -> None:
    """Run the command line, or the completion of one in a shell, and exit."""
    instruction = os.environ.get(COMPLETE)
    if instruction:
        sys.exit(shell_complete(cli, {}, "shootdown", COMPLETE, instruction))
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Return the exit code of a command line; whatever happens, the user reads a sentence and not a traceback.

    The output is written when this function returns.
    If the reader of the output is gone, the command ends without a message; if the output cannot be written, the user
    is told.
    """
    if sys.stdout is None:
        return _complain("shootdown: standard output is closed.", HARNESS_FAILED)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        return _unwritten(PIPE_CLOSED)
    except OSError as error:
        # Every file that a user names has a sentence of its own, so this is the output, or the system itself.
        if error.errno not in _NO_ROOM:
            return _complain(_defect(error), HARNESS_FAILED)
        _complain(f"shootdown: the output cannot be written: {error.strerror}.", HARNESS_FAILED)
        return _unwritten(HARNESS_FAILED)
    except Exception as error:  # noqa: BLE001 - the last resort of the command line
        return _complain(_defect(error), HARNESS_FAILED)
    return code


def _run(arguments: Sequence[str]) -> int:
    try:
        # Not cli.main(): it ends with 1 when the reader of the output is gone.
        with cli.make_context("shootdown", list(arguments)) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        # The message of this exception is the help text, which is not one sentence.
        return _complain(error.format_message(), UNUSABLE)
    except click.ClickException as error:
        return _complain(_usage_sentence(error), UNUSABLE)
    except UserError as error:
        return _complain(f"shootdown: {error}", UNUSABLE)
    except Refusal as error:
        return _complain(f"shootdown: {error}", HARNESS_FAILED)
    except (KeyboardInterrupt, click.Abort):
        return _complain("Interrupted.", INTERRUPTED)
    return code if isinstance(code, int) else OK


def _unwritten(code: int) -> int:
    """Drop what is still buffered, because it must not be written at exit, and return the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _usage_sentence(error: click.ClickException) -> str:
    where = "shootdown"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        where = error.ctx.command_path
    message = " ".join(error.format_message().split())
    return f"{where}: {message}".replace("a valid integer range", "a whole number")


def _defect(error: Exception) -> str:
    # Imported late: a command that succeeds need not wait for them.
    import tempfile  # noqa: PLC0415 - see above
    import traceback  # noqa: PLC0415 - see above

    what = " ".join(f"{type(error).__name__}: {error}".split())
    if os.environ.get("SHOOTDOWN_DEBUG"):
        traceback.print_exception(error)
        return f"shootdown: internal error: {what}"
    kept = ""
    with (
        contextlib.suppress(OSError),
        tempfile.NamedTemporaryFile(
            "w", prefix="shootdown-", suffix=".txt", delete=False
        ) as report,
    ):
        traceback.print_exception(error, file=report)
        kept = f"The traceback is in {report.name}; "
    shown = "it" if kept else "the traceback"
    return f"shootdown: internal error: {what}. {kept}SHOOTDOWN_DEBUG=1 shows {shown} here."


def _complain(sentence: str, code: int) -> int:
    # Where nothing can be printed, the exit code is all there is.
    with contextlib.suppress(OSError, AttributeError):
        click.echo(sentence, err=True)
    return code
