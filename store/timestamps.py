"""One form for every instant in the store, so that the order of the texts is the order of time."""

from datetime import UTC, datetime


def canonical(at: str) -> str:
    """Any ISO-8601 text with an offset of zero becomes YYYY-MM-DDTHH:MM:SS.ffffffZ, and that form stays as it is.

    Python's isoformat() leaves out microseconds that are 0, and "Z" sorts after ".": without one form the earlier of
    two sightings could not be found by comparing texts. ValueError for a time without an offset or with another one:
    the store has no clock of its own, so a local time could not be put right later.
    """
    moment = datetime.fromisoformat(at)
    offset = moment.utcoffset()
    if offset is None or offset:
        raise ValueError(f"{at!r} is not a time in UTC")
    return moment.replace(tzinfo=UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
