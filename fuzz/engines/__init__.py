"""Engines: what chooses the next scenario of a campaign."""
