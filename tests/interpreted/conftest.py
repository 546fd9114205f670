"""Tests that replace parts of the models, or list them; compiled models do not allow that."""

from shootdown import form

collect_ignore_glob = ["test_*.py"] if form.is_compiled() else []
