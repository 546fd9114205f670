"""The error that the oracle raises."""


class Violation(Exception):
    """The error that the run showed something that the reference does not allow.

    `where`: the place in a kernel's own text, "" for none.
    """

    def __init__(self, reason: str, slot: int, cpu: int, kind: int, where: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.slot = slot
        self.cpu = cpu
        self.kind = kind
        self.where = where
