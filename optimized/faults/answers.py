"""Faults that replace one decision of the machinery by a constant."""

from shootdown.optimized.strategy import GatherFlush


def answering(base: type[GatherFlush] = GatherFlush, /, **answers: object) -> type[GatherFlush]:
    """Return a strategy in which each named method does nothing except return the value that is given for it.

    Errors: AttributeError, for a name that is no method of `base`.
    """
    missing = [name for name in answers if not hasattr(base, name)]
    if missing:
        message = f"{base.__name__} has no method {', '.join(missing)}"
        raise AttributeError(message)
    methods = {name: _constant(answer) for name, answer in answers.items()}
    return type(f"{base.__name__}Answering", (base,), methods)


def _constant(answer: object) -> object:
    def decide(_self: GatherFlush, *_asked: object, **_named: object) -> object:
        return answer

    return decide
