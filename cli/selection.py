"""The options by which the user says which findings a command is about."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Final

import click

from shootdown.store import Store, StoredFinding, find_campaign, list_findings

_OPTIONS: Final = (
    click.option("--policy", metavar="NAME", help="Only findings of this policy."),
    click.option("--rule", metavar="RULE", help="Only violations of this rule, such as C1."),
    click.option("--campaign", metavar="NAME", help="Only findings that this campaign saw."),
)


@dataclass(frozen=True, slots=True)
class Selection:
    """What a finding must have to be selected; a field that is None demands nothing."""

    policy: str | None
    rule: str | None
    campaign: str | None

    @property
    def everything(self) -> bool:
        """Return whether nothing is demanded."""
        return (self.policy, self.rule, self.campaign) == (None, None, None)

    def of(self, store: Store) -> list[StoredFinding]:
        """Return the selected findings, the first seen first.

        Errors: UnknownCampaign.
        """
        seen_by = None if self.campaign is None else find_campaign(store, self.campaign).id
        return list_findings(store, policy=self.policy, rule=self.rule, campaign=seen_by)


def selection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a Selection, which the command gets as its first argument."""

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
