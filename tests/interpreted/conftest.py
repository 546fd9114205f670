"""Tests that replace parts of the models, or list them, which compiled ones do not let happen."""

from shootdown import form

collect_ignore_glob = ["test_*.py"] if form.is_compiled() else []
