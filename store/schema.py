"""The tables, as ordered migrations.

Everything that is stored is either content (a minimum, a scenario), an event (a replay, a worker that died), or a
figure that only grows (executions of a campaign, sightings of a finding). So two databases merge without loss and in
any order. What can be computed from the rest is not stored: the count and the dates of a finding are those of its
sightings, through the view `findings`, and cannot drift from them.

A migration that has been released is never edited; a change of the schema is a further function at the end.
"""

from contextlib import closing
from typing import Final

from sqlite_utils import Database, Migrations

# "TLBs" in ASCII, in the header of the file: SQLite's own field for telling whose database a file is.
APPLICATION_ID: Final = 0x544C4273

# STRICT needs it; Migrations would silently leave the word out.
OLDEST_SQLITE: Final = (3, 37, 0)

TABLES: Final = (
    "campaigns",
    "campaign_series",
    "campaign_corpus",
    "worker_events",
    "minima",
    "sightings",
    "traces",
    "replays",
    "proofs",
    "comparisons",
    "disagreements",
    "disagreement_sightings",
)

MIGRATIONS: Final = Migrations("shootdown")


@MIGRATIONS()
def campaigns(db: Database) -> None:
    """Create the tables of a campaign, its time series, its corpus and what happened to its workers."""
    db.execute("""
        CREATE TABLE campaigns (
            id TEXT NOT NULL PRIMARY KEY,     -- made from name, policy, seed and start: the same in every database
            name TEXT NOT NULL,
            policy TEXT NOT NULL,
            policy_version TEXT NOT NULL,
            tool_version TEXT NOT NULL,
            python TEXT NOT NULL,
            engine TEXT NOT NULL,
            seed INTEGER NOT NULL,
            limits TEXT NOT NULL,             -- JSON: what was to stop it
            workers INTEGER NOT NULL,
            started TEXT NOT NULL CHECK (started GLOB '????-??-??T??:??:??.??????Z'),
            ended TEXT CHECK (ended GLOB '????-??-??T??:??:??.??????Z'),
            status TEXT NOT NULL CHECK (status IN ('running', 'finished', 'interrupted', 'failed')),
            executions INTEGER NOT NULL,
            seconds REAL NOT NULL,
            features INTEGER NOT NULL,
            corpus_size INTEGER NOT NULL,
            policy_flushes INTEGER NOT NULL,
            policy_ipis INTEGER NOT NULL,
            policy_pages INTEGER NOT NULL,
            reference_flushes INTEGER NOT NULL,
            reference_ipis INTEGER NOT NULL,
            reference_pages INTEGER NOT NULL,
            CHECK ((ended IS NULL) = (status = 'running'))
        ) STRICT
    """)
    db.execute("CREATE INDEX campaigns_by_name ON campaigns (name, started)")
    db.execute("""
        CREATE TABLE campaign_series (
            campaign TEXT NOT NULL REFERENCES campaigns (id),
            at REAL NOT NULL,                 -- seconds since the start
            executions INTEGER NOT NULL,
            rate REAL NOT NULL,               -- executions a second, lately
            features INTEGER NOT NULL,
            corpus INTEGER NOT NULL,
            findings INTEGER NOT NULL,
            flushes_saved INTEGER NOT NULL,   -- the reference's flushes less the policy's
            PRIMARY KEY (campaign, at)
        ) STRICT
    """)
    db.execute("""
        CREATE TABLE campaign_corpus (
            campaign TEXT NOT NULL REFERENCES campaigns (id),
            sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
            position INTEGER NOT NULL,        -- order of arrival
            scenario BLOB NOT NULL,
            PRIMARY KEY (campaign, sha256)
        ) STRICT
    """)
    db.execute("""
        CREATE TABLE worker_events (
            campaign TEXT NOT NULL REFERENCES campaigns (id),
            at TEXT NOT NULL CHECK (at GLOB '????-??-??T??:??:??.??????Z'),
            worker INTEGER NOT NULL,
            what TEXT NOT NULL CHECK (what IN ('started', 'died', 'hung', 'replaced')),
            detail TEXT NOT NULL,
            PRIMARY KEY (campaign, at, worker, what, detail)
        ) STRICT
    """)


@MIGRATIONS()
def findings(db: Database) -> None:
    """Create the tables of findings and sightings.

    A finding is its canonical minimum; when and how often it was seen is in its sightings.
    """
    db.execute("""
        CREATE TABLE minima (
            key TEXT NOT NULL PRIMARY KEY CHECK (length(key) = 64),
            policy TEXT NOT NULL,
            rule TEXT NOT NULL,
            reason TEXT NOT NULL,
            skip TEXT NOT NULL,               -- the guilty skip; empty when there is none to name
            scenario BLOB NOT NULL,           -- canonical bytes
            text TEXT NOT NULL,               -- the same scenario in its text form
            operations INTEGER NOT NULL,
            cpus INTEGER NOT NULL,
            pages INTEGER NOT NULL
        ) STRICT
    """)
    db.execute("""
        CREATE TABLE sightings (
            finding TEXT NOT NULL REFERENCES minima (key),
            campaign TEXT NOT NULL REFERENCES campaigns (id),
            count INTEGER NOT NULL CHECK (count > 0),
            first_seen TEXT NOT NULL CHECK (first_seen GLOB '????-??-??T??:??:??.??????Z'),
            last_seen TEXT NOT NULL CHECK (last_seen GLOB '????-??-??T??:??:??.??????Z'),
            execution INTEGER NOT NULL,       -- number of the execution that was the first
            original BLOB NOT NULL,           -- the input of that execution, before it was minimized
            runs INTEGER NOT NULL,            -- how many runs the minimizer took for it
            tool_version TEXT NOT NULL,
            PRIMARY KEY (finding, campaign)
        ) STRICT
    """)
    db.execute("CREATE INDEX sightings_by_campaign ON sightings (campaign)")
    db.execute("""
        CREATE VIEW findings AS
        SELECT substr(minima.key, 1, 16) AS id,
               minima.*,
               total.first_seen,
               total.last_seen,
               total.count,
               total.campaigns,
               first.original,
               first.runs,
               first.tool_version
        FROM minima
        JOIN (
            SELECT finding,
                   min(first_seen) AS first_seen,
                   max(last_seen) AS last_seen,
                   sum(count) AS count,
                   count(*) AS campaigns
            FROM sightings
            GROUP BY finding
        ) AS total ON total.finding = minima.key
        JOIN sightings AS first ON first.finding = minima.key AND first.campaign = (
            SELECT campaign FROM sightings
            WHERE sightings.finding = minima.key
            ORDER BY first_seen, campaign
            LIMIT 1
        )
    """)


@MIGRATIONS()
def evidence(db: Database) -> None:
    """Create the tables of what the first run of a finding showed, and of what each replay showed."""
    db.execute("""
        CREATE TABLE traces (
            finding TEXT NOT NULL PRIMARY KEY REFERENCES minima (key),
            at TEXT NOT NULL CHECK (at GLOB '????-??-??T??:??:??.??????Z'),
            tool_version TEXT NOT NULL,
            steps TEXT NOT NULL,              -- JSON: the trace, line by line
            history TEXT NOT NULL,            -- JSON: the values that the page had
            open_operations TEXT NOT NULL     -- JSON: the operations in flight
        ) STRICT
    """)
    db.execute("""
        CREATE TABLE replays (
            finding TEXT NOT NULL REFERENCES minima (key),
            at TEXT NOT NULL CHECK (at GLOB '????-??-??T??:??:??.??????Z'),
            policy TEXT NOT NULL,
            tool_version TEXT NOT NULL,
            verdict TEXT NOT NULL CHECK (verdict IN ('legal', 'illegal', 'undecided')),
            rule TEXT NOT NULL,
            reason TEXT NOT NULL,
            reproduced INTEGER NOT NULL CHECK (reproduced IN (0, 1)),
            PRIMARY KEY (finding, at, policy, tool_version, verdict, rule, reason, reproduced)
        ) STRICT
    """)


@MIGRATIONS()
def proofs(db: Database) -> None:
    """Create the table of campaigns that searched exhaustively: what each covered, and how it ended."""
    db.execute("""
        CREATE TABLE proofs (
            campaign TEXT NOT NULL PRIMARY KEY REFERENCES campaigns (id),
            scope TEXT NOT NULL,              -- in words
            bound TEXT NOT NULL,              -- JSON: the same as options
            verdict TEXT NOT NULL CHECK (verdict IN ('legal', 'illegal', 'undecided')),
            complete INTEGER NOT NULL,        -- everything was explored up to this many operations
            worlds INTEGER NOT NULL,
            transitions INTEGER NOT NULL,
            seconds REAL NOT NULL,
            why TEXT NOT NULL,                -- the limit that an undecided proof met, or empty
            finding TEXT REFERENCES minima (key)
        ) STRICT
    """)


@MIGRATIONS()
def comparisons(db: Database) -> None:
    """Create the tables of comparisons with another machine, and of their disagreements."""
    db.execute("""
        CREATE TABLE comparisons (
            id TEXT NOT NULL PRIMARY KEY,     -- made from kind, seed, machine and start
            kind TEXT NOT NULL,               -- live, races, flushes or qemu
            seed INTEGER NOT NULL,
            tool_version TEXT NOT NULL,
            python TEXT NOT NULL,
            machine TEXT NOT NULL,            -- JSON: the kernel and the processor, or the emulator
            left_out TEXT NOT NULL,           -- JSON: what this machine did not let be compared
            started TEXT NOT NULL CHECK (started GLOB '????-??-??T??:??:??.??????Z'),
            ended TEXT CHECK (ended GLOB '????-??-??T??:??:??.??????Z'),
            sequences INTEGER NOT NULL,
            operations INTEGER NOT NULL,
            accesses INTEGER NOT NULL,
            seconds REAL NOT NULL,
            explained TEXT NOT NULL           -- JSON: how many sequences show each known difference
        ) STRICT
    """)
    db.execute("""
        CREATE TABLE disagreements (
            key TEXT NOT NULL PRIMARY KEY CHECK (length(key) = 64),
            kind TEXT NOT NULL,
            what TEXT NOT NULL,               -- what differs
            model TEXT NOT NULL,
            other TEXT NOT NULL,
            text TEXT NOT NULL                -- the scenario, minimized
        ) STRICT
    """)
    db.execute("""
        CREATE TABLE disagreement_sightings (
            disagreement TEXT NOT NULL REFERENCES disagreements (key),
            comparison TEXT NOT NULL REFERENCES comparisons (id),
            count INTEGER NOT NULL CHECK (count > 0),
            first_seen TEXT NOT NULL CHECK (first_seen GLOB '????-??-??T??:??:??.??????Z'),
            last_seen TEXT NOT NULL CHECK (last_seen GLOB '????-??-??T??:??:??.??????Z'),
            PRIMARY KEY (disagreement, comparison)
        ) STRICT
    """)


@MIGRATIONS()
def bases(db: Database) -> None:
    """Add the policy that a campaign's own is held against, empty for none."""
    for column in ("base", "base_version"):
        db.execute(f"ALTER TABLE campaigns ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")


def known_migrations() -> set[str]:
    """Return the names of all migrations of this program; an empty database lacks all of them."""
    with closing(Database(memory=True, execute_plugins=False)) as empty:
        return {migration.name for migration in MIGRATIONS.pending(empty)}
