"""Several processes with one findings database."""

import subprocess
import sys
from pathlib import Path

from shootdown.store import list_campaigns, list_findings, open_store
from tests.store_samples import minimum

# Waits for a line on standard input, so that all begin together.
CAMPAIGN = """
import sys
from dataclasses import replace
from shootdown.store import *
from tests.store_samples import *
sys.stdin.readline()
with open_store(sys.argv[1], create=True) as store:
    campaign = start_campaign(store, replace(CAMPAIGN, name=sys.argv[2]))
    for number in range(20):
        record_finding(store, minimum(number), sighting(campaign, number), EVIDENCE)
        add_corpus(store, campaign, [bytes([number])])
"""


def test_campaigns_share_a_database(tmp_path: Path) -> None:
    """Campaigns that make one file at the same moment and fill it together lose nothing, and it is in WAL mode."""
    path = tmp_path / "findings.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CAMPAIGN, str(path), f"campaign {number}"],
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in processes]

    assert errors == [""] * 4
    store = open_store(path, create=False)
    assert len(list_campaigns(store)) == 4
    assert {one.key: one.count for one in list_findings(store)} == {
        minimum(number).key: 4 for number in range(20)
    }
    assert store.select("SELECT count(*) AS n FROM campaign_corpus") == [{"n": 80}]
    assert store.db.journal_mode == "wal"
