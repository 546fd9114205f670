"""Conformance: the same scenarios on the models and on machines that others wrote."""
