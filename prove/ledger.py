"""What a proof writes into the findings database: a campaign, its verdict, and the counterexample as a finding."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version

from shootdown.policy.source import LoadedPolicy
from shootdown.prove.driver import Result
from shootdown.prove.found import investigated
from shootdown.prove.scope import Scope
from shootdown.scenario import Scenario
from shootdown.store import (
    Campaign,
    Ending,
    Minimum,
    Proof,
    Sighting,
    Store,
    Totals,
    end_campaign,
    hold_lease,
    list_campaigns,
    record_finding,
    record_proof,
    start_campaign,
)
from shootdown.system.environment import default_name, now

ENGINE = "prove"


@dataclass(frozen=True, slots=True)
class Filed:
    """What was stored: the proof, and for an illegal one the finding and the scenario as the search met it."""

    proof: Proof
    minimum: Minimum | None = None
    met: Scenario | None = None
    new: bool = False


class ProofLedger:
    """Keeps one proof in the database: from its start as a running campaign, and at its end with its verdict."""

    def __init__(
        self,
        store: Store,
        policy: LoadedPolicy,
        scope: Scope,
        bound: Mapping[str, object],
        workers: int,
    ) -> None:
        self.store = store
        self.policy = policy
        self.scope = scope
        self.bound = bound
        campaign = Campaign(
            name=default_name(
                f"prove-{policy.name}", {stored.campaign.name for stored in list_campaigns(store)}
            ),
            policy=policy.name,
            policy_version=policy.version,
            tool_version=version("shootdown"),
            python=platform.python_version(),
            engine=ENGINE,
            seed=0,
            limits=dict(bound),
            workers=workers,
            started=now(),
        )
        self.name = campaign.name
        self._lease = hold_lease(store, campaign.id)
        self.campaign = start_campaign(store, campaign)

    def close(self, result: Result) -> Filed:
        """Store how the proof ended; it may be announced after this returns.

        Errors: NotReproducible when the counterexample does not show the same again.
        """
        state = result.state
        proof = Proof(
            campaign=self.campaign,
            scope=self.scope.words(),
            bound=self.bound,
            verdict=result.verdict,
            complete=state.level,
            worlds=state.worlds,
            transitions=state.transitions,
            seconds=round(state.seconds, 3),
            why=result.why,
        )
        filed = Filed(proof)
        if result.verdict == "illegal":
            filed = self._finding(proof, result)
        record_proof(self.store, filed.proof)
        ending: Ending = "interrupted" if result.why == "interrupted" else "finished"
        totals = Totals(executions=0, seconds=state.seconds)
        end_campaign(self.store, self.campaign, status=ending, ended=now(), totals=totals)
        return filed

    def release(self) -> None:
        """Let others see that no process works on the campaign any more."""
        if self._lease is not None:
            self._lease.release()

    def _finding(self, proof: Proof, result: Result) -> Filed:
        met, found = investigated(result.path, self.scope, self.policy.policy)
        recorded = record_finding(
            self.store,
            found.minimum,
            Sighting(
                campaign=self.campaign,
                at=now(),
                execution=0,
                original=found.original,
                runs=found.runs,
                tool_version=version("shootdown"),
            ),
            found.evidence,
        )
        return Filed(replace(proof, finding=recorded.key), found.minimum, met, recorded.new)
