"""A part of a page that a bench writes, between two marks."""


def between(page: str, begin: str, end: str, made: str, name: object) -> str:
    """Return the page with new text between the two marks.

    `name`: the name of the page in a complaint.
    Errors: SystemExit with a sentence, when one of the marks is missing.
    """
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        message = f"{name} lacks one of the marks {begin.strip()} and {end.strip()}"
        raise SystemExit(message)
    return f"{before}{begin}\n{made}\n\n{end}{after}"
