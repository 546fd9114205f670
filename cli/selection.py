"""Which findings a command is about: the options by which the user narrows them down."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Final

import click

from shootdown.store import Store, StoredFinding, find_campaign, list_findings

_OPTIONS: Final = (
    click.option("--policy", metavar="NAME", help="Only findings of this policy."),
    click.option("--rule", metavar="RULE", help="Only violations of this rule, such as C1."),
    click.option("--campaign", metavar="NAME", help="Only findings that this campaign has seen."),
)


@dataclass(frozen=True, slots=True)
class Selection:
    """What a finding must have to be meant; None asks for nothing."""

    policy: str | None
    rule: str | None
    campaign: str | None

    @property
    def everything(self) -> bool:
        """Nothing is asked for."""
        return (self.policy, self.rule, self.campaign) == (None, None, None)

    def of(self, store: Store) -> list[StoredFinding]:
        """Return the findings that are meant, the first seen first. Error: UnknownCampaign."""
        seen_by = None if self.campaign is None else find_campaign(store, self.campaign).id
        return list_findings(store, policy=self.policy, rule=self.rule, campaign=seen_by)


def selection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a Selection, which it gets as its first argument."""

    @wraps(command)
    def chosen(
        *args: object,
        policy: str | None,
        rule: str | None,
        campaign: str | None,
        **kwargs: object,
    ) -> None:
        command(Selection(policy, rule, campaign), *args, **kwargs)

    for option in reversed(_OPTIONS):
        chosen = option(chosen)
    return chosen
