"""The stored corpus of a campaign."""

from dataclasses import replace

from shootdown.store import add_corpus, load_corpus, open_store, start_campaign
from tests.store_samples import CAMPAIGN


def test_corpus_comes_back_in_order() -> None:
    """The scenarios come back in order of arrival, each once, whatever their bytes."""
    store = open_store(":memory:", create=True)
    campaign = start_campaign(store, CAMPAIGN)

    add_corpus(store, campaign, [b"b", b"", b"\x00\xff"])
    add_corpus(store, campaign, [b"", b"a", b"b", b"c"])

    assert load_corpus(store, campaign) == [b"b", b"", b"\x00\xff", b"a", b"c"]


def test_campaigns_have_their_own() -> None:
    """One scenario may be in the corpora of two campaigns."""
    store = open_store(":memory:", create=True)
    first = start_campaign(store, CAMPAIGN)
    second = start_campaign(store, replace(CAMPAIGN, name="day"))

    add_corpus(store, first, [b"a", b"b"])
    add_corpus(store, second, [b"b"])

    assert load_corpus(store, first) == [b"a", b"b"]
    assert load_corpus(store, second) == [b"b"]
    assert load_corpus(store, "nobody") == []
