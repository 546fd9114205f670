"""One form for every instant in the store, so that texts sort in the order of time."""

from datetime import UTC, datetime


def canonical(at: str) -> str:
    """Return an ISO-8601 text with an offset of zero as YYYY-MM-DDTHH:MM:SS.ffffffZ; that form stays as it is.

    Python's isoformat() leaves out microseconds that are 0, and "Z" sorts after ".": without one form the earlier of
    two sightings could not be found by comparing texts.
    Errors: ValueError for a time without an offset or with another offset: the store has no clock of its own, so a
    local time could not be corrected later.
    """
    moment = datetime.fromisoformat(at)
    offset = moment.utcoffset()
    if offset is None or offset:
        raise ValueError(f"{at!r} is not a time in UTC")
    return moment.replace(tzinfo=UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
