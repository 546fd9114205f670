"""The reason why work cannot begin or go on."""


class Refusal(Exception):
    """The system does not let a campaign or a proof begin or go on; the message is the sentence that the user reads."""
