"""A kernel's own text, held against the models: the stories of the corpus, and the accesses that have no stop.

The stories run in a process of their own, because a text may end the process, or not return.
"""

import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from shootdown import form
from shootdown.kernel.cache import cache_home
from shootdown.kernel.limited import TimedOut, run_limited
from shootdown.kernel.machinery import REPORTED
from shootdown.kernel.strategy import KernelFlush
from shootdown.kernel.text import KernelError, printable
from shootdown.optimized.policies import REGISTRY
from shootdown.policy.source import load_policy
from shootdown.run.execute import execute
from shootdown.scenario import corpus

MODEL: Final = "linux"
"""The policy of the models with which a text is compared."""
_SECONDS: Final = 30
"""The stories take two seconds."""
_PROGRAM: Final = """
import os, sys
sys.path.insert(0, sys.argv[1])
os.environ["XDG_CACHE_HOME"] = sys.argv[2]
from shootdown.run.held import answer
answer(sys.argv[3])
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What the stories show.

    `stories`: their number.
    `differ`: for each story that has another verdict on the text than on the models, its name and both verdicts.
    `unstopped`: the accesses to what CPUs share that have no stop before them: function, place, whether it writes.
    """

    stories: int
    differ: tuple[tuple[str, str, str], ...]
    unstopped: tuple[tuple[str, str, bool], ...]


def held(spec: str) -> Held:
    """Run all stories on a text, which the words of a policy name, and on the models.

    Errors: KernelError, when the text ends the process or does not return, with the story.
    """
    root = str(Path(form.__file__).parent.parent)
    command = [sys.executable, "-I", "-c", _PROGRAM, root, str(cache_home()), spec]
    try:
        done = run_limited(command, Path(root), _SECONDS)
    except TimedOut as error:
        raise KernelError(f"The text does not return in the story {_last(error.err)}.") from None
    if done.code < 0:
        name = signal.Signals(-done.code).name
        raise KernelError(f"The text ends with {name} in the story {_last(done.err)}.")
    if done.code:
        raise KernelError(f"The text cannot be run: {printable(_last(done.err)).rstrip('.')}.")
    found = json.loads(done.out)
    return Held(
        found["stories"],
        tuple((name, theirs, ours) for name, theirs, ours in found["differ"]),
        tuple((function, place, writes) for function, place, writes in found["unstopped"]),
    )


def answer(spec: str) -> None:
    """Print what `held` returns as JSON, and the name of each story to standard error before it runs."""
    text, model = load_policy(spec).policy.make(), REGISTRY[MODEL].make()
    if isinstance(text, KernelFlush):
        text = text.in_form(REPORTED)
    stories = corpus.load()
    differ: list[tuple[str, str, str]] = []
    for name, parsed in stories.items():
        sys.stderr.write(f"{name}\n")
        sys.stderr.flush()
        try:
            ours = execute(parsed.scenario, text)
        except Exception as error:  # noqa: BLE001 - a text may ask for nonsense, and any error may follow
            _end(name, error)
        theirs = execute(parsed.scenario, model)
        words = [f"{each.verdict} {each.reason}".rstrip() for each in (theirs, ours)]
        if words[0] != words[1]:
            differ.append((name, words[0], words[1]))
    unstopped = text.unstopped() if isinstance(text, KernelFlush) else ()
    found = {"stories": len(stories), "differ": differ, "unstopped": unstopped}
    sys.stdout.write(json.dumps(found))


def _end(name: str, error: Exception) -> NoReturn:
    """End the process with what went wrong as the last line of standard error."""
    words = str(error)
    if not isinstance(error, KernelError):
        kind = type(error).__name__
        words = f"it asks for what no machine has in the story {name} ({kind}: {words})"
    raise SystemExit(words) from error


def _last(printed: str) -> str:
    return printed.strip().rpartition("\n")[2]
