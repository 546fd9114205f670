"""Why a comparison cannot run."""


class Unusable(Exception):
    """The comparison cannot run on this machine; the message is the end of a sentence that says why."""
