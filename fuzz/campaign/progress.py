"""The view of a running campaign for people: a live picture in a terminal, elsewhere a plain line now and then."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shootdown.fuzz.campaign.plan import Plan, Sighted, Snapshot, View
from shootdown.system.pace import Pace, duration

REFRESH: Final = 4
"""Pictures a second."""
_SHOWN: Final = 5
"""How many of the last findings the live picture shows."""


class PlainView:
    """Writes lines: findings and events at once; with `lines`, also a remark, and then the figures every
    few seconds.
    """

    def __init__(self, write: Callable[[str], None], *, lines: bool, remark: str = "") -> None:
        self.write = write
        self.lines = lines
        self.remark = remark
        self.pace = Pace()

    def update(self, snapshot: Snapshot) -> None:
        """Write the figures if it is time, and before them the remark, as soon as there are figures."""
        if self.lines and self.remark:
            self.write(self.remark)
            self.remark = ""
        if self.lines and self.pace.due():
            self.write(figures(snapshot))

    def finding(self, sighted: Sighted) -> None:
        """Write what was found."""
        self.write(f"finding {announcement(sighted)}")

    def event(self, sentence: str) -> None:
        """Write the sentence."""
        self.write(sentence)


class LiveView:
    """Draws the figures in place, with the last findings below; events scroll past above."""

    def __init__(self, plan: Plan, database: str, live: Live, remark: str) -> None:
        self.plan = plan
        self.remark = remark
        self.database = database
        self.live = live
        self.findings: list[Sighted] = []
        self.snapshot = Snapshot()

    def update(self, snapshot: Snapshot) -> None:
        """Draw the figures."""
        self.snapshot = snapshot
        self.live.update(self.picture())

    def finding(self, sighted: Sighted) -> None:
        """Add a finding to the picture."""
        self.findings.append(sighted)
        self.live.update(self.picture())

    def event(self, sentence: str) -> None:
        """Print the sentence above the picture."""
        self.live.console.print(Text(sentence))

    def picture(self) -> Group:
        """Return the picture of the last snapshot."""
        plan, now = self.plan, self.snapshot
        head = Text.assemble(
            ("shootdown", "bold"),
            f"  policy {plan.policy.name}  engine {plan.engine}  seed {plan.seed}  {self.database}",
        )
        grid = Table.grid(padding=(0, 2))
        for justify in ("left", "right", "left"):
            grid.add_column(justify=justify)
        for row in rows(plan, now):
            grid.add_row(Text(row[0], "dim"), row[1], Text(row[2], "dim"))
        parts: list[Text | Table] = [Text(), head, Text(), grid]
        if self.remark:
            parts += [Text(), Text(self.remark, "dim")]
        if self.findings:
            parts.append(Text())
            parts += [
                Text(announcement(sighted), "red", no_wrap=True, overflow="ellipsis")
                for sighted in self.findings[-_SHOWN:]
            ]
        return Group(*parts)


def rows(plan: Plan, now: Snapshot) -> list[tuple[str, str, str]]:
    """Return the live figures: what, how many, and a remark."""
    limits = plan.limits
    until = []
    if limits.seconds is not None:
        until.append(duration(limits.seconds))
    if limits.executions is not None:
        until.append(f"{limits.executions:,} executions")
    if limits.until_finding:
        until.append("a finding")
    failing = f"{now.failures:,} failing executions" if now.failures else ""
    if now.tally is not None and plan.base is not None:
        also = f"{now.tally.shared:,} also illegal under {plan.base.name}"
        failing = f"{failing}, {also}" if failing else also
    undecided = f"{now.undecided:,} undecided" if now.undecided else ""
    lost = f"{now.replaced} replaced" if now.replaced else ""
    return [
        ("time", duration(now.seconds), f"until {' or '.join(until) or 'Ctrl-C'}"),
        ("executions", f"{now.executions:,}", undecided),
        ("rate", f"{now.rate:,.0f}/s", ""),
        (
            "features",
            f"{now.features:,}",
            f"last new one {duration(now.quiet)} ago" if now.features else "",
        ),
        ("corpus", f"{now.corpus:,}", ""),
        ("findings", str(now.findings), failing),
        (
            "flushes saved",
            saved(now),
            f"{now.flushes:,} against the reference's {now.reference_flushes:,}",
        ),
        ("workers", str(now.workers), lost),
    ]


def figures(now: Snapshot) -> str:
    """Return the figures as one line."""
    lost = f" ({now.replaced} replaced)" if now.replaced else ""
    return (
        f"{duration(now.seconds)}: {now.executions:,} executions, {now.rate:,.0f}/s, {now.features:,} features,"
        f" corpus {now.corpus:,}, findings {now.findings}, flushes saved {saved(now)}, workers {now.workers}{lost}"
    )


def announcement(sighted: Sighted) -> str:
    """Return a finding as one line."""
    minimum = sighted.minimum
    skip = f" ({minimum.skip})" if minimum.skip else ""
    known = "" if sighted.new else ", known"
    operations = f"{minimum.operations} operation{'s' * (minimum.operations != 1)}"
    return f"{sighted.key[:16]}  {minimum.rule} {minimum.reason}{skip}, {operations}{known}"


def saved(now: Snapshot) -> str:
    """Return the share of the reference's flushes that the policy avoided."""
    if not now.reference_flushes:
        return "-"
    return f"{100 * (1 - now.flushes / now.reference_flushes):.1f} %"


@contextmanager
def live_view(console: Console, plan: Plan, database: str, remark: str = "") -> Iterator[View]:
    """Show a campaign in place while the block runs; the last picture stays."""
    with Live(console=console, refresh_per_second=REFRESH, transient=False) as live:
        yield LiveView(plan, database, live, remark)
