"""The reason why the user's input cannot be used."""


class UserError(Exception):
    """The input cannot be used; the message is the sentence that the user reads, and the exit code is 2."""
