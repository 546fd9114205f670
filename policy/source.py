"""The sources of policies: the registry, a file, an entry point of an installed package, or the program itself."""

import difflib
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from types import ModuleType
from typing import Final, TypeAlias

from shootdown.kernel.policy import (
    MACHINERY_PREFIX,
    NAME_PREFIX,
    PREFIX,
    RULE_PREFIX,
    is_kernel_text,
    kernel_policy,
)
from shootdown.kernel.text import KernelError
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.policy import NeedFlush, Policy
from shootdown.policy.check import what_is_wrong
from shootdown.system.user_error import UserError

GROUP: Final = "shootdown.policies"
"""The entry point group of packages that provide policies: each is a Policy or a function of (old, new)."""


class PolicyError(UserError):
    """The error that a policy cannot be loaded or does not work."""


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy and its source.

    `spec`: the words that the user types for it, "" for a policy that only this process has.
    `version`: distinguishes two states of its source, "" for a policy that only this process has.
    `remark`: a sentence that its user should read once, "" for none.
    """

    policy: Policy
    spec: str
    version: str
    remark: str = ""

    @property
    def name(self) -> str:
        """The policy's name, which is part of a finding's identity."""
        return self.policy.name


PolicyLike: TypeAlias = str | Path | Policy | LoadedPolicy | NeedFlush
"""The values that a program may give as a policy."""


def load_policy(spec: str) -> LoadedPolicy:
    """Return the policy of that name, or the one that the Python file or the kernel's text at that path defines.

    Errors: PolicyError.
    """
    if is_kernel_text(spec):
        return _from_kernel(spec)
    if is_path(spec):
        return _from_file(spec)
    if spec in REGISTRY:
        return LoadedPolicy(REGISTRY[spec], spec, version("shootdown"))
    for point in entry_points(group=GROUP):
        if point.name == spec:
            return _from_entry_point(point)
    if spec.startswith((NAME_PREFIX, MACHINERY_PREFIX)):
        what, prefix = (
            ("the rule of ", RULE_PREFIX) if spec.startswith(NAME_PREFIX) else ("", PREFIX)
        )
        raise PolicyError(
            f"{spec} is {what}a kernel's text: give its place with --policy {prefix}PATH."
        )
    names = policy_names()
    close = difflib.get_close_matches(spec, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise PolicyError(
        f"There is no policy {spec!r}.{hint} `shootdown policies` lists all; a file needs its ending .py."
    )


def policy_of(given: PolicyLike) -> LoadedPolicy:
    """Return the policy that a program gives: by name, by path, as a Policy, or as a rule, a function of (old, new).

    A rule becomes a policy with the name of its function.
    Errors: PolicyError.
    """
    if isinstance(given, LoadedPolicy):
        return given
    if isinstance(given, str):
        return load_policy(given)
    if isinstance(given, Path):
        return _from_file(str(given))
    if isinstance(given, Policy):
        if REGISTRY.get(given.name) is given:
            return load_policy(given.name)
        where, name = f"Policy({given.name!r})", ""
    else:
        name = getattr(given, "__name__", type(given).__name__)
        module = getattr(given, "__module__", "")
        where = f"{module}.{getattr(given, '__qualname__', name)}".lstrip(".")
    return LoadedPolicy(_with_its_own_name(_as_policy(given, where, name, None), where), "", "")


def is_path(spec: str) -> bool:
    """Return whether the words name a Python file, not a policy."""
    return not is_kernel_text(spec) and (spec.endswith(".py") or "/" in spec)


def told_apart(policies: Sequence[LoadedPolicy]) -> list[LoadedPolicy]:
    """Return the policies, those of one name by what the user has typed for them: two trees of one text, say."""
    names = [loaded.name for loaded in policies]
    specs = [loaded.spec for loaded in policies if names.count(loaded.name) > 1]
    return [
        replace(loaded, policy=replace(loaded.policy, name=_shortened(loaded.spec, specs)))
        if names.count(loaded.name) > 1
        else loaded
        for loaded in policies
    ]


def _shortened(spec: str, specs: Sequence[str]) -> str:
    """Return the last parts of a long path, as many as no other of the paths ends with."""
    parts = spec.split("/")
    for count in range(1, len(parts)):
        end = "/".join(parts[-count:])
        if sum(f"/{other}".endswith(f"/{end}") for other in specs) <= specs.count(spec):
            return min(f".../{end}", spec, key=len)
    return spec


def policy_names() -> list[str]:
    """Return the names of all policies that can be loaded without a file."""
    return [*REGISTRY, *sorted(point.name for point in entry_points(group=GROUP))]


def policy_of_finding(name: str, recorded: str) -> LoadedPolicy:
    """Return the policy with which a finding was recorded; a policy from a file is loaded from the same path.

    `recorded`: the version that its campaign stored. If the file or the text is another one now, the policy's remark
    says so.
    Errors: PolicyError.
    """
    spec = spec_of_finding(name, recorded)
    if spec == name:
        return load_policy(name)
    try:
        loaded = load_policy(spec)
    except PolicyError as error:
        raise PolicyError(f"{error} Give the policy {name} with --policy.") from error
    if loaded.version == recorded:
        return loaded
    changed = f"{spec} has changed since this was recorded."
    return replace(loaded, remark=f"{changed} {loaded.remark}".rstrip())


def spec_of_finding(name: str, recorded: str) -> str:
    """Return the words for a policy of that name and that recorded version: the path of a policy from a file."""
    path, at, _ = recorded.rpartition("@")
    return path if at else name


def blame(error: BaseException, spec: str) -> str | None:
    """Return one sentence with the line of the user's file that raised the error, None if no such file raised it."""
    if not is_path(spec):
        return None
    file = str(Path(spec).absolute())
    if isinstance(error, SyntaxError) and error.filename == file:
        return f"{spec}, line {error.lineno}: {error.msg}."
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    if not lines:
        return None
    return f"{spec}, line {lines[-1]}: {type(error).__name__}: {_one_line(error)}."


@contextmanager
def blamed(loaded: LoadedPolicy) -> Iterator[None]:
    """Turn an error that a user's file raises in the block into the PolicyError that names its line.

    Its own prints go to standard error, because a program may read the command's output.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (GeneratorExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        sentence = blame(error, loaded.spec)
        if sentence is None:
            raise
        raise PolicyError(sentence) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or "no message"


def _from_file(spec: str) -> LoadedPolicy:
    path = Path(spec)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"The policy file {spec} cannot be read: {error.strerror}.") from None
    digest = hashlib.sha256(source).hexdigest()[:12]
    module = _executed(spec)
    given = getattr(module, "POLICY", None)
    if given is None:
        given = getattr(module, "needs_flush", None)
        if given is None:
            raise PolicyError(f"{spec} defines neither POLICY nor needs_flush(old, new).")
    policy = _as_policy(given, spec, path.stem, inspect.getdoc(module))
    return LoadedPolicy(_with_its_own_name(policy, spec), spec, f"{spec}@{digest}")


def _from_kernel(spec: str) -> LoadedPolicy:
    try:
        made = kernel_policy(spec)
    except KernelError as error:
        raise PolicyError(str(error)) from error
    policy = _as_policy(made.policy, spec, made.policy.name, None)
    return LoadedPolicy(policy, made.spec, f"{made.spec}@{made.digest}", made.remark)


def _with_its_own_name(policy: Policy, where: str) -> Policy:
    if policy.name in REGISTRY:
        raise PolicyError(
            f"{where} defines a policy named {policy.name}, which is built in; it needs a name of its own."
        )
    return policy


def _executed(spec: str) -> ModuleType:
    path = Path(spec).absolute()
    name = f"shootdown_policy_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise PolicyError(f"{spec} is not a Python file: its name must end in .py.")
    module = importlib.util.module_from_spec(found)
    # Dataclasses and pickles look their module up there.
    sys.modules[name] = module
    try:
        with redirect_stdout(sys.stderr):
            found.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        sentence = blame(error, spec) or f"{spec}: {type(error).__name__}: {_one_line(error)}."
        raise PolicyError(sentence) from error
    return module


def _from_entry_point(point: EntryPoint) -> LoadedPolicy:
    where = f"The entry point {point.name} ({point.value})"
    try:
        given = point.load()
    except Exception as error:
        raise PolicyError(
            f"{where} cannot be loaded: {type(error).__name__}: {_one_line(error)}."
        ) from error
    owner = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    return LoadedPolicy(_as_policy(given, where, point.name, None), point.name, owner)


def _as_policy(given: object, where: str, name: str, doc: str | None) -> Policy:
    """Return `given` if it is a Policy, or a policy of that name with it as the rule if it is a function."""
    if not isinstance(given, Policy):
        if not callable(given):
            raise PolicyError(
                f"{where} has a {type(given).__name__} where a Policy or a function must be."
            )
        summary = (doc or inspect.getdoc(given) or "").partition("\n")[0]
        rule: Callable[[int, int], bool] = given
        given = Policy(name, rule, summary, where)
    complaint = what_is_wrong(given)
    if complaint:
        raise PolicyError(f"{where}: {complaint}")
    return given
