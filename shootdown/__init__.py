"""Says whether a TLB flush may be skipped or put off.

Public are the names in `__all__`, which is all that a program needs, and the functions of `shootdown.testing`; what a
policy is made of (`Policy`, the methods of `GatherFlush`, the bits of `entry`, the entry point group
`shootdown.policies`); of the command line the options, the exit codes and what `--json` prints; the text form of
scenarios; and the views of the findings database. The packages below this one are its rooms: they may change in any
version.

A version number is MAJOR.MINOR.PATCH. Public names are removed or changed only in a new MAJOR version, or in a new
MINOR version while MAJOR is 0; new ones come in a MINOR version. A PATCH version repairs. Except in a PATCH version,
the same scenario may get another verdict, and the same seed may give other executions: the models follow Linux. A
database of an older version gets the newest schema when it is opened for writing.
"""

from typing import TYPE_CHECKING, Final

# This comes before any room is imported: it decides in which form the rooms are.
from shootdown import form as form

if TYPE_CHECKING:
    from shootdown.api import fuzz_policy as fuzz_policy
    from shootdown.api import load_policy as load_policy
    from shootdown.api import lockstep as lockstep
    from shootdown.api import minimize_scenario as minimize_scenario
    from shootdown.api import policies as policies
    from shootdown.api import prove_policy as prove_policy
    from shootdown.api import replay as replay
    from shootdown.api import scenarios as scenarios
    from shootdown.api import tabulate_policy as tabulate_policy
    from shootdown.machine import entry as entry
    from shootdown.mm.fault_handler import FaultHandler as FaultHandler
    from shootdown.optimized.policy import Policy as Policy
    from shootdown.optimized.strategy import GatherFlush as GatherFlush
    from shootdown.policy.source import LoadedPolicy as LoadedPolicy
    from shootdown.policy.source import PolicyLike as PolicyLike
    from shootdown.results import Counterexample as Counterexample
    from shootdown.results import Difference as Difference
    from shootdown.results import Finding as Finding
    from shootdown.results import FuzzResult as FuzzResult
    from shootdown.results import MinimizeResult as MinimizeResult
    from shootdown.results import ProofResult as ProofResult
    from shootdown.results import ReplayResult as ReplayResult
    from shootdown.results import ReplayStep as ReplayStep
    from shootdown.results import TableRow as TableRow
    from shootdown.system.refusal import Refusal as Refusal
    from shootdown.system.user_error import UserError as UserError

    __version__: str

_HOMES: Final = {
    "Counterexample": "shootdown.results",
    "Difference": "shootdown.results",
    "FaultHandler": "shootdown.mm.fault_handler",
    "Finding": "shootdown.results",
    "FuzzResult": "shootdown.results",
    "GatherFlush": "shootdown.optimized.strategy",
    "LoadedPolicy": "shootdown.policy.source",
    "MinimizeResult": "shootdown.results",
    "Policy": "shootdown.optimized.policy",
    "PolicyLike": "shootdown.policy.source",
    "ProofResult": "shootdown.results",
    "Refusal": "shootdown.system.refusal",
    "ReplayResult": "shootdown.results",
    "ReplayStep": "shootdown.results",
    "TableRow": "shootdown.results",
    "UserError": "shootdown.system.user_error",
    "entry": "shootdown.machine",
    "fuzz_policy": "shootdown.api",
    "load_policy": "shootdown.api",
    "lockstep": "shootdown.api",
    "minimize_scenario": "shootdown.api",
    "policies": "shootdown.api",
    "prove_policy": "shootdown.api",
    "replay": "shootdown.api",
    "scenarios": "shootdown.api",
    "tabulate_policy": "shootdown.api",
}
"""Where each public name comes from when it is first asked for: every room imports this package, so it loads none.

No name equals that of a room: importing a room binds its name here, and would replace the function.
"""

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604 - all of them are texts


# Hidden from mypy, which would take every misspelt name for one of these.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Return a public name."""
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415 - it takes as long as everything else here

            return version(form.PACKAGE)
        if name in _HOMES:
            # With fromlist, a module inside the home counts as well.
            return getattr(__import__(_HOMES[name], fromlist=[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def __dir__() -> list[str]:
    """Return the public names too."""
    return sorted({*globals(), *__all__})
