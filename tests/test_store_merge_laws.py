"""The laws of merging, on small generated databases."""

import hashlib
from dataclasses import asdict, replace

from hypothesis import given
from hypothesis import strategies as st

from shootdown.store import (
    Campaign,
    Minimum,
    Store,
    count_again,
    list_findings,
    merge,
    open_store,
    record_finding,
    start_campaign,
)
from shootdown.store.schema import TABLES
from tests.store_samples import (
    CAMPAIGN,
    COMPARISON,
    DISAGREEMENT,
    EVIDENCE,
    Content,
    Rows,
    dump,
    filled,
    instant,
    merged,
    minimum,
    sighting,
)
from tests.strategies import examples

LAW = examples(0.3)  # each opens several databases

CAMPAIGNS = [replace(CAMPAIGN, name=name) for name in ("day", "night")]
MINIMA = [minimum(number) for number in range(2)]
SMALL = st.integers(0, 2)
INSTANTS = st.integers(0, 1).map(instant)
WORDS = st.sampled_from(["a", "b"])
BYTES = st.sampled_from([b"", b"a"])
EVENTS = st.sets(st.tuples(INSTANTS, st.booleans()))


def rows(strategy: st.SearchStrategy[dict[str, object]], *keys: str) -> st.SearchStrategy[Rows]:
    """Return a strategy for up to two rows with different keys."""
    return st.lists(strategy, unique_by=lambda row: tuple(row[key] for key in keys), max_size=2)


@st.composite
def progress(draw: st.DrawFn) -> dict[str, object]:
    """Return the part of a campaign's row that changes."""
    status = draw(st.sampled_from(["running", "finished", "interrupted", "failed"]))
    figures = ["executions", "features", "corpus_size"] + [
        f"{model}_{cost}"
        for model in ("policy", "reference")
        for cost in ("flushes", "ipis", "pages")
    ]
    return {
        "status": status,
        "ended": None if status == "running" else draw(INSTANTS),
        "seconds": float(draw(SMALL)),
        **{figure: draw(SMALL) for figure in figures},
    }


@st.composite
def campaign_rows(draw: st.DrawFn, campaign: Campaign) -> Content:
    """Return a campaign and what belongs to it alone."""
    key = st.just(campaign.id)
    figures = ["executions", "rate", "features", "corpus", "findings", "flushes_saved"]
    point = st.fixed_dictionaries({"campaign": key, "at": SMALL, **dict.fromkeys(figures, SMALL)})
    scenario = st.builds(
        lambda scenario, position: {
            "campaign": campaign.id,
            "sha256": hashlib.sha256(scenario).hexdigest(),
            "position": position,
            "scenario": scenario,
        },
        BYTES,
        SMALL,
    )
    fixed = asdict(campaign) | {"id": campaign.id, "limits": "{}", "started": instant(0)}
    return {
        "campaigns": [fixed | draw(progress())],
        "campaign_series": draw(rows(point, "at")),
        "campaign_corpus": draw(rows(scenario, "sha256")),
        "worker_events": [
            {
                "campaign": campaign.id,
                "at": at,
                "worker": 0,
                "what": "died" if died else "hung",
                "detail": "",
            }
            for at, died in draw(EVENTS)
        ],
    }


@st.composite
def finding_rows(draw: st.DrawFn, found: Minimum, campaigns: list[Campaign]) -> Content:
    """Return a finding, its sightings by these campaigns, its trace and its replays."""
    return {
        "minima": [
            asdict(found) | {"key": found.key, "text": draw(WORDS), "operations": draw(SMALL)}
        ],
        "sightings": [
            {
                "finding": found.key,
                "campaign": campaign.id,
                "count": draw(SMALL) + 1,
                "first_seen": draw(INSTANTS),
                "last_seen": draw(INSTANTS),
                "execution": draw(SMALL),
                "original": draw(BYTES),
                "runs": draw(SMALL),
                "tool_version": draw(WORDS),
            }
            for campaign in campaigns
        ],
        "traces": [
            {
                "finding": found.key,
                "at": draw(INSTANTS),
                "tool_version": draw(WORDS),
                "steps": draw(WORDS),
                "history": draw(WORDS),
                "open_operations": draw(WORDS),
            }
        ],
        "replays": [
            {
                "finding": found.key,
                "at": at,
                "policy": "v1",
                "tool_version": "1",
                "verdict": "legal",
                "rule": "",
                "reason": "",
                "reproduced": int(reproduced),
            }
            for at, reproduced in draw(EVENTS)
        ],
    }


@st.composite
def proof_rows(draw: st.DrawFn, campaign: Campaign, minima: list[Minimum]) -> Content:
    """Return the proof of a campaign, if it was one, with one of these findings or none."""
    proof = {
        "campaign": campaign.id,
        "scope": draw(WORDS),
        "bound": draw(WORDS),
        "verdict": draw(st.sampled_from(["legal", "illegal", "undecided"])),
        "complete": draw(SMALL),
        "worlds": draw(SMALL),
        "transitions": draw(SMALL),
        "seconds": float(draw(SMALL)),
        "why": draw(WORDS),
        "finding": draw(st.sampled_from([None, *(found.key for found in minima)])),
    }
    return {"proofs": [proof] if draw(st.booleans()) else []}


@st.composite
def comparison_rows(draw: st.DrawFn) -> Content:
    """Return a comparison, if there was one, and whether it saw a disagreement."""
    if not draw(st.booleans()):
        return {}
    comparison = {
        "id": COMPARISON.id,
        "kind": COMPARISON.kind,
        "seed": COMPARISON.seed,
        "tool_version": draw(WORDS),
        "python": draw(WORDS),
        "machine": "{}",
        "left_out": draw(WORDS),
        "started": instant(0),
        "ended": draw(st.none() | INSTANTS),
        "sequences": draw(SMALL),
        "operations": draw(SMALL),
        "accesses": draw(SMALL),
        "seconds": float(draw(SMALL)),
        "explained": draw(WORDS),
    }
    if not draw(st.booleans()):
        return {"comparisons": [comparison]}
    sighting = {
        "disagreement": DISAGREEMENT.key,
        "comparison": COMPARISON.id,
        "count": draw(SMALL) + 1,
        "first_seen": draw(INSTANTS),
        "last_seen": draw(INSTANTS),
    }
    return {
        "comparisons": [comparison],
        "disagreements": [{"key": DISAGREEMENT.key} | asdict(DISAGREEMENT)],
        "disagreement_sightings": [sighting],
    }


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """Return rows for every table that respect the foreign keys; one id is one campaign, and one key one scenario."""
    campaigns = draw(st.lists(st.sampled_from(CAMPAIGNS), unique_by=id))
    minima = draw(st.lists(st.sampled_from(MINIMA), unique_by=id))
    parts = [draw(campaign_rows(campaign)) for campaign in campaigns]
    parts += [draw(finding_rows(found, campaigns)) for found in minima]
    parts += [draw(proof_rows(campaign, minima)) for campaign in campaigns]
    parts += [draw(comparison_rows())]
    return {table: [row for part in parts for row in part.get(table, [])] for table in TABLES}


@LAW
@given(contents())
def test_idempotent(a: Content) -> None:
    """Merging a store with itself, or with nothing, leaves it as it is."""
    nothing: Content = {table: [] for table in TABLES}

    assert merged(a, a) == merged(a) == merged(a, nothing) == merged(nothing, a)


@LAW
@given(contents(), contents())
def test_commutative(a: Content, b: Content) -> None:
    """It does not matter which of two stores is merged into which."""
    assert merged(a, b) == merged(b, a)


@LAW
@given(contents(), contents(), contents())
def test_associative(a: Content, b: Content, c: Content) -> None:
    """It does not matter in which groups three stores are merged."""
    assert merged(merged(a, b), c) == merged(a, merged(b, c))


@LAW
@given(contents(), contents())
def test_nothing_is_lost(a: Content, b: Content) -> None:
    """Every key of either store is there, every event and scenario, and no count is smaller than it was."""
    both = merged(a, b)
    keys = {"minima": ["key"], "sightings": ["finding", "campaign"], "campaigns": ["id"]}
    keys |= {"campaign_corpus": ["campaign", "scenario"], "campaign_series": ["campaign", "at"]}
    keys |= {"proofs": ["campaign"], "comparisons": ["id"], "disagreements": ["key"]}
    keys |= {"disagreement_sightings": ["disagreement", "comparison"]}

    for one in (a, b):
        for table in ("worker_events", "replays"):
            assert all(row in both[table] for row in one[table])
        for table, columns in keys.items():
            present = [[row[column] for column in columns] for row in both[table]]
            assert all([row[column] for column in columns] in present for row in one[table])
        for row in one["sightings"]:
            (now,) = (
                other
                for other in both["sightings"]
                if (other["finding"], other["campaign"]) == (row["finding"], row["campaign"])
            )
            assert now["count"] >= row["count"]
            assert now["first_seen"] <= row["first_seen"]
            assert now["last_seen"] >= row["last_seen"]


@LAW
@given(contents(), contents())
def test_a_proof_is_the_one_that_is_further_on(a: Content, b: Content) -> None:
    """Of two copies of a proof one stays as a whole, and it is the one with more transitions."""
    for proof in merged(a, b)["proofs"]:
        copies = [row for row in a["proofs"] + b["proofs"] if row["campaign"] == proof["campaign"]]

        assert proof in copies
        assert proof["transitions"] == max(row["transitions"] for row in copies)


@LAW
@given(contents(), contents())
def test_a_finding_is_the_sum_of_its_sightings(a: Content, b: Content) -> None:
    """The view of the findings has each minimum once, with the totals of its sightings."""
    with filled(merged(a, b)) as store:
        sightings = store.db.table("sightings").rows
        counts: dict[str, int] = {}
        for row in sightings:
            counts[row["finding"]] = counts.get(row["finding"], 0) + row["count"]

        assert {found.key: found.count for found in list_findings(store)} == counts


SEEN = st.lists(st.tuples(SMALL, st.integers(0, 1), st.integers(1, 9)), max_size=6)


def recorded(events: list[tuple[int, int, int]], campaigns: set[int]) -> Store:
    """Return a store in which these campaigns saw what the events say, through the functions that campaigns use."""
    store = open_store(":memory:", create=True)
    for campaign in sorted(campaigns):
        start_campaign(store, replace(CAMPAIGN, seed=campaign))
    for seconds, (campaign, number, times) in enumerate(events):
        if campaign in campaigns:
            key = replace(CAMPAIGN, seed=campaign).id
            seen = record_finding(store, MINIMA[number], sighting(key, seconds), EVIDENCE)
            count_again(store, key, {seen.key: times}, at=instant(seconds))
    return store


@LAW
@given(SEEN)
def test_machines_add_up_to_one(events: list[tuple[int, int, int]]) -> None:
    """Campaigns in their own databases, merged, make the database that they would have filled together."""
    with recorded(events, {0, 1, 2}) as together, recorded(events, {2}) as into:
        for campaign in (0, 1):
            with recorded(events, {campaign}) as source:
                merge(into, source)

        assert dump(together) == dump(into)
        assert list_findings(together) == list_findings(into)
