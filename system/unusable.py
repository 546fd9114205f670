"""The reason why a comparison cannot run."""


class Unusable(Exception):
    """The comparison cannot run on this machine; the message ends a sentence and gives the reason."""
