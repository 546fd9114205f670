"""The named views: the questions that people ask a findings database most often."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from shootdown.store.errors import UnknownView
from shootdown.store.open import SqlValue, Store
from shootdown.store.query import Rows, RowStream, reading


@dataclass(frozen=True, slots=True)
class View:
    """One question: what it answers, its SQL, and the SQL's parameters with their defaults."""

    description: str
    sql: str
    parameters: dict[str, SqlValue] = field(default_factory=dict)


VIEWS: Final[dict[str, View]] = {
    "by-rule": View(
        "findings and sightings for each violated rule and reason",
        """
        SELECT rule, reason, count(*) AS findings, sum(count) AS sightings,
               count(DISTINCT policy) AS policies, min(operations) AS shortest,
               min(first_seen) AS first_seen, max(last_seen) AS last_seen
        FROM findings
        GROUP BY rule, reason
        ORDER BY findings DESC, rule, reason
        """,
    ),
    "by-policy": View(
        "findings, sightings and executions for each policy, those that showed nothing included",
        """
        SELECT campaigns.policy,
               count(*) AS campaigns,
               sum(executions) AS executions,
               round(sum(seconds), 1) AS seconds,
               (SELECT count(*) FROM findings WHERE findings.policy = campaigns.policy) AS findings,
               (SELECT coalesce(sum(count), 0) FROM findings WHERE findings.policy = campaigns.policy)
                   AS sightings,
               round(100.0 * (sum(reference_flushes) - sum(policy_flushes)) / nullif(sum(reference_flushes), 0), 1)
                   AS flushes_saved_percent
        FROM campaigns
        GROUP BY campaigns.policy
        ORDER BY findings DESC, campaigns.policy
        """,
    ),
    "by-skip": View(
        "findings for each guilty skip, with the policies that take it",
        """
        SELECT skip, count(*) AS findings, sum(count) AS sightings, min(operations) AS shortest,
               group_concat(DISTINCT policy) AS policies, group_concat(DISTINCT rule) AS rules
        FROM findings
        GROUP BY skip
        ORDER BY findings DESC, skip
        """,
    ),
    "recent": View(
        "the findings seen last (limit=20)",
        """
        SELECT id, policy, rule, reason, skip, operations, count, first_seen, last_seen
        FROM findings
        ORDER BY last_seen DESC, key
        LIMIT :limit
        """,
        {"limit": 20},
    ),
    "shortest": View(
        "the findings with the fewest operations (limit=20)",
        """
        SELECT id, policy, rule, reason, operations, cpus, pages, count
        FROM findings
        ORDER BY operations, length(scenario), cpus, pages, key
        LIMIT :limit
        """,
        {"limit": 20},
    ),
    "campaigns": View(
        "all campaigns with their totals, the last one first",
        """
        SELECT name, policy, base, engine, seed, workers, status, started, ended, executions,
               round(seconds, 1) AS seconds,
               round(executions / nullif(seconds, 0)) AS rate,
               features, corpus_size,
               (SELECT count(*) FROM sightings WHERE campaign = campaigns.id) AS findings,
               policy_flushes, reference_flushes, policy_ipis, reference_ipis, policy_pages, reference_pages, id
        FROM campaigns
        ORDER BY started DESC, id
        """,
    ),
    "comparisons": View(
        "all comparisons of the models with another machine, the last one first",
        """
        SELECT kind, seed, started, ended, sequences, operations, accesses, round(seconds, 1) AS seconds,
               (SELECT count(*) FROM disagreement_sightings AS seen WHERE seen.comparison = comparisons.id)
                   AS disagreements,
               machine, explained, left_out, id
        FROM comparisons
        ORDER BY started DESC, id
        """,
    ),
    "disagreements": View(
        "what the models and another machine did not agree about, the last seen first",
        """
        SELECT substr(key, 1, 16) AS id, kind, what, model, other, sum(count) AS count,
               min(first_seen) AS first_seen, max(last_seen) AS last_seen,
               -- On one line, so that the rows of a table stay rows.
               replace(replace(trim(text, char(10)), char(10) || char(10), ': '), char(10), '; ') AS text
        FROM disagreements JOIN disagreement_sightings ON disagreement = key
        GROUP BY key
        ORDER BY max(last_seen) DESC, key
        """,
    ),
    "rate": View(
        "the time series of each campaign, or of one (campaign=NAME)",
        """
        SELECT name, at, campaign_series.executions, rate, campaign_series.features, corpus, findings,
               flushes_saved
        FROM campaign_series JOIN campaigns ON campaigns.id = campaign
        WHERE :campaign IS NULL OR :campaign IN (name, id)
        ORDER BY started, id, at
        """,
        {"campaign": None},
    ),
    "engines": View(
        "what each engine found in each policy, and after how many executions",
        """
        SELECT engine, policy, count(*) AS campaigns, sum(executions) AS executions,
               round(sum(seconds), 1) AS seconds,
               round(sum(executions) / nullif(sum(seconds), 0)) AS rate,
               sum(first IS NOT NULL) AS campaigns_that_found,
               min(first) AS fewest_executions_to_find,
               max(first) AS most_executions_to_find
        FROM (
            SELECT campaigns.*,
                   (SELECT min(execution) FROM sightings WHERE campaign = campaigns.id) AS first
            FROM campaigns
        )
        GROUP BY engine, policy
        ORDER BY policy, engine
        """,
    ),
    "stale": View(
        "the findings that their last replay did not reproduce",
        """
        SELECT id, findings.policy, findings.rule, findings.reason, at AS replayed,
               replays.policy AS replayed_policy, replays.tool_version AS replayed_version, verdict,
               replays.rule AS replayed_rule, replays.reason AS replayed_reason
        FROM findings JOIN replays ON replays.rowid = (
            SELECT rowid FROM replays
            WHERE finding = key
            ORDER BY at DESC, reproduced DESC
            LIMIT 1
        )
        WHERE NOT reproduced
        ORDER BY at DESC, key
        """,
    ),
    "workers": View(
        "what happened to the workers of each campaign, or of one (campaign=NAME)",
        """
        SELECT name, worker_events.at, worker, what, detail
        FROM worker_events JOIN campaigns ON campaigns.id = campaign
        WHERE :campaign IS NULL OR :campaign IN (name, id)
        ORDER BY worker_events.at, worker, what
        """,
        {"campaign": None},
    ),
    "proofs": View(
        "what was searched exhaustively, for each policy and version, the newest first",
        """
        SELECT campaigns.policy, campaigns.policy_version AS version, verdict, complete AS operations, proofs.scope,
               worlds, transitions, round(proofs.seconds, 1) AS seconds, why, substr(finding, 1, 16) AS finding,
               campaigns.started
        FROM proofs JOIN campaigns ON campaigns.id = proofs.campaign
        ORDER BY campaigns.started DESC, campaigns.policy
        """,
    ),
}


def run_view(store: Store, name: str, parameters: dict[str, SqlValue] | None = None) -> Rows:
    """Return all rows of a named view, as `reading_view` yields them one after the other."""
    with reading_view(store, name, parameters) as stream:
        return Rows(stream.columns, list(stream.rows))


@contextmanager
def reading_view(
    store: Store, name: str, parameters: dict[str, SqlValue] | None = None
) -> Iterator[RowStream]:
    """Yield the rows of a named view; a parameter that is not given has the view's default.

    Errors: UnknownView for a name or a parameter that does not exist, with the ones that do; QueryFailed for a bad
    value.
    """
    view = VIEWS.get(name)
    if view is None:
        raise UnknownView(f"There is no view {name}; there are {', '.join(VIEWS)}.")
    given = parameters or {}
    for parameter in given:
        if parameter not in view.parameters:
            known = (
                f"its only ones are {', '.join(view.parameters)}"
                if view.parameters
                else "it has none"
            )
            raise UnknownView(f"The view {name} has no parameter {parameter}; {known}.")
    with reading(store, view.sql, view.parameters | given) as stream:
        yield stream
