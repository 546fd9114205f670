"""The scenarios of corpus/ as first inputs of a campaign."""

import difflib
from collections.abc import Collection

from fuzz.campaign.policy_source import PolicyError


def seed_corpus(exclude: Collection[str] = ()) -> tuple[bytes, ...]:
    return ()
