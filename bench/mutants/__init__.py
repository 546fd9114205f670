"""Mutants of the models: what an automatic change of their sources shows, and what it does not show.

    python -m bench.mutants run --out FILE      # 240 mutants, 25 CPU seconds of random inputs each
    python -m bench.mutants check --out FILE    # whether the unmutated models are quiet on what killed the mutants
    python -m bench.mutants report --out FILE   # killed, crashed, legal, and which of the legal ones are no loss
    python -m bench.mutants show --only TEXT    # what the mutants with this in their names change
    python -m bench.mutants.differ NAME         # in how many random runs one ends in another state

A mutant is one change in one function (bench.mutants.edits). Its name consists of the function and of the changed text,
without a line number, so a judgement in judged.tsv holds as long as this text stays.
"""
