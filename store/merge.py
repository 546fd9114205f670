"""Merging one findings database into another.

Every table is a join-semilattice: the union of the rows is taken by their key, and where both databases have a key, the
greater row of one fixed order wins. So merging is idempotent, commutative and associative on content: databases may be
copied about and merged in any order and any number of times, and all end with the same content.
"""

import sqlite3
from dataclasses import dataclass, fields
from typing import Any, Final

from shootdown.store.campaigns import Campaign
from shootdown.store.errors import MergeConflict, StoreDamaged
from shootdown.store.findings import Minimum
from shootdown.store.open import Store, sentences
from shootdown.store.schema import TABLES

# In the order of the foreign keys. A campaign's figures only grow, so the more advanced row wins; the rest of the
# comparison only makes the order total, so that the order of merging cannot matter.
_UNITE: Final = {
    "campaigns": """
        INSERT INTO campaigns VALUES (
            :id, :name, :policy, :policy_version, :tool_version, :python, :engine, :seed, :limits, :workers,
            :started, :ended, :status, :executions, :seconds, :features, :corpus_size,
            :policy_flushes, :policy_ipis, :policy_pages, :reference_flushes, :reference_ipis, :reference_pages,
            :base, :base_version
        )
        ON CONFLICT (id) DO UPDATE SET
            (ended, status, executions, seconds, features, corpus_size, policy_flushes, policy_ipis,
             policy_pages, reference_flushes, reference_ipis, reference_pages)
            = (excluded.ended, excluded.status, excluded.executions, excluded.seconds, excluded.features,
               excluded.corpus_size, excluded.policy_flushes, excluded.policy_ipis, excluded.policy_pages,
               excluded.reference_flushes, excluded.reference_ipis, excluded.reference_pages)
        WHERE (excluded.executions, excluded.seconds, coalesce(excluded.ended, ''), excluded.status,
               excluded.features, excluded.corpus_size, excluded.policy_flushes, excluded.policy_ipis,
               excluded.policy_pages, excluded.reference_flushes, excluded.reference_ipis,
               excluded.reference_pages)
            > (campaigns.executions, campaigns.seconds, coalesce(campaigns.ended, ''), campaigns.status,
               campaigns.features, campaigns.corpus_size, campaigns.policy_flushes, campaigns.policy_ipis,
               campaigns.policy_pages, campaigns.reference_flushes, campaigns.reference_ipis,
               campaigns.reference_pages)
    """,
    "campaign_series": """
        INSERT INTO campaign_series VALUES (
            :campaign, :at, :executions, :rate, :features, :corpus, :findings, :flushes_saved
        )
        ON CONFLICT (campaign, at) DO UPDATE SET
            (executions, rate, features, corpus, findings, flushes_saved)
            = (excluded.executions, excluded.rate, excluded.features, excluded.corpus, excluded.findings,
               excluded.flushes_saved)
        WHERE (excluded.executions, excluded.rate, excluded.features, excluded.corpus, excluded.findings,
               excluded.flushes_saved)
            > (campaign_series.executions, campaign_series.rate, campaign_series.features,
               campaign_series.corpus, campaign_series.findings, campaign_series.flushes_saved)
    """,
    "campaign_corpus": """
        INSERT INTO campaign_corpus VALUES (:campaign, :sha256, :position, :scenario)
        ON CONFLICT (campaign, sha256) DO UPDATE SET position = min(position, excluded.position)
    """,
    "worker_events": """
        INSERT INTO worker_events VALUES (:campaign, :at, :worker, :what, :detail)
        ON CONFLICT DO NOTHING
    """,
    # One key is one scenario; only another version of the text form can make a difference here.
    "minima": """
        INSERT INTO minima VALUES (
            :key, :policy, :rule, :reason, :skip, :scenario, :text, :operations, :cpus, :pages
        )
        ON CONFLICT (key) DO UPDATE SET
            (text, operations, cpus, pages)
            = (excluded.text, excluded.operations, excluded.cpus, excluded.pages)
        WHERE (excluded.text, excluded.operations, excluded.cpus, excluded.pages)
            > (minima.text, minima.operations, minima.cpus, minima.pages)
    """,
    # Two rows with one key are two copies of one campaign's database, taken at different times: the greater count
    # contains the smaller. What belongs to the first sighting moves together.
    "sightings": """
        INSERT INTO sightings VALUES (
            :finding, :campaign, :count, :first_seen, :last_seen, :execution, :original, :runs, :tool_version
        )
        ON CONFLICT (finding, campaign) DO UPDATE SET
            count = max(count, excluded.count),
            last_seen = max(last_seen, excluded.last_seen),
            (first_seen, execution, original, runs, tool_version) = (
                SELECT * FROM (
                    SELECT sightings.first_seen AS a, sightings.execution AS b, sightings.original AS c,
                           sightings.runs AS d, sightings.tool_version AS e
                    UNION ALL
                    SELECT excluded.first_seen, excluded.execution, excluded.original, excluded.runs,
                           excluded.tool_version
                )
                ORDER BY a, b, c, d, e
                LIMIT 1
            )
    """,
    "traces": """
        INSERT INTO traces VALUES (:finding, :at, :tool_version, :steps, :history, :open_operations)
        ON CONFLICT (finding) DO UPDATE SET
            (at, tool_version, steps, history, open_operations)
            = (excluded.at, excluded.tool_version, excluded.steps, excluded.history, excluded.open_operations)
        WHERE (excluded.at, excluded.tool_version, excluded.steps, excluded.history, excluded.open_operations)
            < (traces.at, traces.tool_version, traces.steps, traces.history, traces.open_operations)
    """,
    "replays": """
        INSERT INTO replays VALUES (
            :finding, :at, :policy, :tool_version, :verdict, :rule, :reason, :reproduced
        )
        ON CONFLICT DO NOTHING
    """,
    "proofs": """
        INSERT INTO proofs VALUES (
            :campaign, :scope, :bound, :verdict, :complete, :worlds, :transitions, :seconds, :why, :finding
        )
        ON CONFLICT (campaign) DO UPDATE SET
            (scope, bound, verdict, complete, worlds, transitions, seconds, why, finding)
            = (excluded.scope, excluded.bound, excluded.verdict, excluded.complete, excluded.worlds,
               excluded.transitions, excluded.seconds, excluded.why, excluded.finding)
        WHERE (excluded.transitions, excluded.seconds, excluded.worlds, excluded.complete, excluded.verdict,
               excluded.why, coalesce(excluded.finding, ''), excluded.scope, excluded.bound)
            > (proofs.transitions, proofs.seconds, proofs.worlds, proofs.complete, proofs.verdict,
               proofs.why, coalesce(proofs.finding, ''), proofs.scope, proofs.bound)
    """,
    # The same holds here as for campaigns.
    "comparisons": """
        INSERT INTO comparisons VALUES (
            :id, :kind, :seed, :tool_version, :python, :machine, :left_out, :started, :ended,
            :sequences, :operations, :accesses, :seconds, :explained
        )
        ON CONFLICT (id) DO UPDATE SET
            (ended, sequences, operations, accesses, seconds, explained, tool_version, python, left_out)
            = (excluded.ended, excluded.sequences, excluded.operations, excluded.accesses, excluded.seconds,
               excluded.explained, excluded.tool_version, excluded.python, excluded.left_out)
        WHERE (excluded.sequences, excluded.operations, excluded.accesses, excluded.seconds,
               coalesce(excluded.ended, ''), excluded.explained, excluded.tool_version, excluded.python,
               excluded.left_out)
            > (comparisons.sequences, comparisons.operations, comparisons.accesses, comparisons.seconds,
               coalesce(comparisons.ended, ''), comparisons.explained, comparisons.tool_version,
               comparisons.python, comparisons.left_out)
    """,
    "disagreements": """
        INSERT INTO disagreements VALUES (:key, :kind, :what, :model, :other, :text)
        ON CONFLICT DO NOTHING
    """,
    "disagreement_sightings": """
        INSERT INTO disagreement_sightings VALUES (
            :disagreement, :comparison, :count, :first_seen, :last_seen
        )
        ON CONFLICT (disagreement, comparison) DO UPDATE SET
            count = max(count, excluded.count),
            first_seen = min(first_seen, excluded.first_seen),
            last_seen = max(last_seen, excluded.last_seen)
    """,
}


@dataclass(frozen=True, slots=True)
class Merged:
    """How many rows the merge added; a finding that both databases had is not counted."""

    campaigns: int
    findings: int
    sightings: int
    replays: int


def merge(into: Store, source: Store) -> Merged:
    """Store durably in `into` everything that either store held; source is only read, and as of one instant.

    The merge happens as a whole or not at all.
    Errors: MergeConflict, StoreDamaged (the content of the source contradicts itself), and any error of a write.
    """
    rows = _read(source)
    _refuse_damaged(source, rows["minima"])
    try:
        with into.transaction() as db:
            _refuse_conflict(into, source, rows["campaigns"])
            before = _sizes(into)
            for table, sql in _UNITE.items():
                for row in rows[table]:
                    db.execute(sql, row)
            after = _sizes(into)
    except sqlite3.IntegrityError as error:
        # Every row was checked when it was written, so the file was edited with foreign keys off.
        raise StoreDamaged(
            f"{source.path} contradicts itself ({error}); nothing was merged."
        ) from error
    return Merged(
        campaigns=after["campaigns"] - before["campaigns"],
        findings=after["minima"] - before["minima"],
        sightings=after["sightings"] - before["sightings"],
        replays=after["replays"] - before["replays"],
    )


def _read(source: Store) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of one instant, although a campaign may be writing the source.

    The source is read completely before the target is locked: in a file system without WAL the two may be one file.
    """
    with sentences(source.path):
        source.db.execute("BEGIN")
        try:
            return {table: list(source.db.table(table).rows) for table in TABLES}
        finally:
            source.db.rollback()


def _refuse_damaged(source: Store, minima: list[dict[str, Any]]) -> None:
    for row in minima:
        if Minimum(**{field.name: row[field.name] for field in fields(Minimum)}).key != row["key"]:
            raise StoreDamaged(
                f"{source.path} contradicts itself: the finding {row['key']} is not what its key says;"
                " nothing was merged."
            )


def _refuse_conflict(into: Store, source: Store, campaigns: list[dict[str, Any]]) -> None:
    present = {row["id"]: row for row in into.db.table("campaigns").rows}
    for row in campaigns:
        for field in fields(Campaign):
            mine = present.get(row["id"], row)[field.name]
            if mine != row[field.name]:
                raise MergeConflict(
                    f"The campaign {row['name']} ({row['id']}) has {field.name} {mine} in {into.path} and"
                    f" {row[field.name]} in {source.path}; nothing was merged."
                )


def _sizes(store: Store) -> dict[str, int]:
    return {table: store.db.table(table).count for table in TABLES}
