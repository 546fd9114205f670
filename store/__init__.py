"""The findings database: what campaigns found and how to find it again, in one SQLite file.

A finding is its canonical minimum, so the same bug is one row whichever campaign or machine saw it; databases merge
in any order. A finding is on the disk before it is announced. The store has no clock: every time is given by its
caller.
"""

from shootdown.store.campaigns import (
    Campaign,
    Ending,
    Point,
    Status,
    StoredCampaign,
    Totals,
    add_series,
    end_campaign,
    find_campaign,
    list_campaigns,
    save_totals,
    start_campaign,
)
from shootdown.store.comparisons import (
    Comparison,
    Reach,
    StoredComparison,
    StoredDisagreement,
    list_comparisons,
    record_disagreement,
    save_reach,
    start_comparison,
)
from shootdown.store.corpus import add_corpus, load_corpus
from shootdown.store.errors import StoreError
from shootdown.store.evidence import (
    Evidence,
    Replay,
    StoredTrace,
    Verdict,
    list_replays,
    load_trace,
    record_replay,
)
from shootdown.store.export import FORMATS, finding_document, jsonable, write_json_items
from shootdown.store.findings import (
    Minimum,
    Recorded,
    Sighting,
    StoredFinding,
    StoredSighting,
    count_again,
    find_finding,
    list_findings,
    list_sightings,
    record_finding,
)
from shootdown.store.leases import abandoned, hold_lease, mark_abandoned
from shootdown.store.merge import Merged, merge
from shootdown.store.open import SqlValue, Store, open_store
from shootdown.store.proofs import Proof, list_proofs, record_proof
from shootdown.store.query import Rows, RowStream, query, reading
from shootdown.store.views import VIEWS, View, reading_view, run_view
from shootdown.store.workers import WorkerEvent, record_worker_event

__all__ = [
    "FORMATS",
    "VIEWS",
    "Campaign",
    "Comparison",
    "Ending",
    "Evidence",
    "Merged",
    "Minimum",
    "Point",
    "Proof",
    "Reach",
    "Recorded",
    "Replay",
    "RowStream",
    "Rows",
    "Sighting",
    "SqlValue",
    "Status",
    "Store",
    "StoreError",
    "StoredCampaign",
    "StoredComparison",
    "StoredDisagreement",
    "StoredFinding",
    "StoredSighting",
    "StoredTrace",
    "Totals",
    "Verdict",
    "View",
    "WorkerEvent",
    "abandoned",
    "add_corpus",
    "add_series",
    "count_again",
    "end_campaign",
    "find_campaign",
    "find_finding",
    "finding_document",
    "hold_lease",
    "jsonable",
    "list_campaigns",
    "list_comparisons",
    "list_findings",
    "list_proofs",
    "list_replays",
    "list_sightings",
    "load_corpus",
    "load_trace",
    "mark_abandoned",
    "merge",
    "open_store",
    "query",
    "reading",
    "reading_view",
    "record_disagreement",
    "record_finding",
    "record_proof",
    "record_replay",
    "record_worker_event",
    "run_view",
    "save_reach",
    "save_totals",
    "start_campaign",
    "start_comparison",
    "write_json_items",
]
