"""Bugs of flush machinery, put back into private copies of a kernel's text, and what a campaign makes of them."""
