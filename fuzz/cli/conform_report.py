"""What `shootdown conform --live` says when it ends."""

import textwrap
from collections.abc import Sequence

from fuzz.cli.options import counted
from fuzz.cli.output import WIDTH
from fuzz.conform.live.campaign import Campaign
from fuzz.conform.live.host import Host
from fuzz.conform.live.known import ALWAYS, BY_RELEASE, MODELLED
from fuzz.conform.live.left_out import NEVER
from fuzz.conform.outcome import Found
from fuzz.scenario import render

SHOWN = 5
"""Disagreements that are shown in full."""


def closing(
    here: Host, seed: int, campaign: Campaign, lacking: Sequence[str], failure: str, db: str
) -> list[str]:
    """Return the lines that end a comparison, for people."""
    figures = campaign.figures
    rate = figures.operations / figures.seconds if figures.seconds else 0.0
    lines = [
        "",
        f"{figures.sequences:,} sequences, {figures.operations:,} operations, {figures.accesses:,} accesses"
        f" in {figures.seconds:.1f} s ({rate:,.0f} operations/s).",
    ]
    lines += _explained(campaign)
    if lacking:
        lines += ["Left out on this machine:", *(_item(line) for line in lacking)]
    lines += ["Never driven from user space:", _item(", ".join(sorted(NEVER)))]
    if failure:
        lines.append(f"The driver failed: {failure}. What was compared before it is counted above.")
    if not campaign.found:
        agreed = "No disagreement that is not explained."
        return [*lines, agreed if figures.sequences else "Nothing was compared."]
    lines.append(f"{counted(len(campaign.found), 'disagreement')} that nothing explains.")
    for found in campaign.found[:SHOWN]:
        lines += ["", *_found(found)]
    lines += ["", f"All of them: shootdown findings view disagreements --db {db}"]
    del here, seed
    return lines


def _explained(campaign: Campaign) -> list[str]:
    release = ".".join(map(str, MODELLED))
    explained = campaign.figures.explained
    lines = [f"The models follow Linux {release}."]
    known = {one.name: (one.function, one.says) for one in BY_RELEASE} | ALWAYS
    if explained:
        lines[0] += " Known differences that were met, in how many sequences:"
    for name, count in sorted(explained.items()):
        function, says = known[name]
        lines.append(_item(f"{name} {count:,}: {says} ({function})."))
    return lines


def _found(found: Found) -> list[str]:
    seen = "" if found.again else " It was met once, and not again when the sequence ran again."
    return [
        f"Disagreement (sequence of seed {found.seed}): {found.what}.{seen}",
        f"  model:  {found.model}",
        f"  kernel: {found.other}",
        *(f"  {line}".rstrip() for line in render(found.scenario).splitlines()),
        f"Again: shootdown conform --live --sequences 1 --seed {found.seed}",
    ]


def _item(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ")


def document(
    here: Host, seed: int, campaign: Campaign, lacking: Sequence[str], failure: str, db: str
) -> dict[str, object]:
    """Return the same as JSON values."""
    figures = campaign.figures
    return {
        "machine": here._asdict(),
        "models": ".".join(map(str, MODELLED)),
        "seed": seed,
        "sequences": figures.sequences,
        "operations": figures.operations,
        "accesses": figures.accesses,
        "seconds": round(figures.seconds, 3),
        "explained": figures.explained,
        "left_out": list(lacking),
        "never_driven": NEVER,
        "failure": failure,
        "disagreements": [
            {
                "what": found.what,
                "model": found.model,
                "kernel": found.other,
                "scenario": render(found.scenario),
                "seed": found.seed,
                "again": found.again,
            }
            for found in campaign.found
        ],
        "db": db,
    }
