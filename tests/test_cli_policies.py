"""`shootdown policies`: the policies that can be tested."""

from pathlib import Path

import pytest

from shootdown.optimized.policies import REGISTRY
from tests.command import complaint, document, inside, shootdown


def test_lists_every_policy(tmp_path: Path) -> None:
    """The list has one line for each policy of the registry with its page-fault handler, and a fault with its rule."""
    lines = [line.split() for line in shootdown(tmp_path, "policies").out.splitlines()]
    words = {line[0]: line[1:] for line in lines if len(line) > 1}

    assert {name: words[name][0] for name in REGISTRY} == {
        name: policy.handler for name, policy in REGISTRY.items()
    }
    assert words["skip-absent"][:2] == ["linux", "C1"]
    assert words["v3"][0] == "exec-check"


def test_json_has_every_policy(tmp_path: Path) -> None:
    """As JSON, each policy has its name, summary, source, handler, rule text and, for a fault, what it breaks."""
    policies = {policy["name"]: policy for policy in document(tmp_path, "policies")}

    assert set(policies) == set(REGISTRY)
    assert all(policy["summary"] and policy["source"] for policy in policies.values())
    assert policies["linux"]["fault"] is None
    assert (policies["linux"]["handler"], policies["v3"]["handler"]) == ("linux", "exec-check")
    assert policies["skip-absent"]["fault"]["year"] == 2017


@pytest.mark.parametrize("name", ["v1", "v3", "linux", "skip-absent"])
def test_shows_one_policy(tmp_path: Path, name: str) -> None:
    """A single policy is shown with its rule's docstring and its handler, and a fault with its mechanism."""
    text = " ".join(inside(tmp_path, "policies", name).out.split())
    policy = REGISTRY[name]

    assert " ".join((policy.needs_flush.__doc__ or "").split("\n")[0].split()) in text
    assert f"Page-fault handler {policy.handler}:" in text
    if policy.fault:
        assert policy.fault.mechanism in text


def test_shows_a_policy_from_a_file(tmp_path: Path) -> None:
    """A user's file is shown like a policy that ships with the tool."""
    (tmp_path / "mine.py").write_text(
        '"""Never flush."""\ndef needs_flush(old, new):\n    return False\n'
    )

    shown = document(tmp_path, "policies", "mine.py")

    assert (shown["name"], shown["summary"]) == ("mine", "Never flush.")


def test_unknown_policy(tmp_path: Path) -> None:
    """An unknown policy is one sentence that suggests the nearest names."""
    assert "Did you mean linux" in complaint(tmp_path, "policies", "linuxx")
