"""Scenarios as text, good_* and bad_*, each with what it must show; a package, so that a wheel carries them."""
