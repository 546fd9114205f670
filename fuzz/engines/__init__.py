"""Engines: each chooses the next scenario of a campaign."""
