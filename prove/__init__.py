"""Exhaustive search over the same models: proofs within a bound, and shortest counterexamples."""
