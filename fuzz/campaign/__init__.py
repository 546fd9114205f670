"""Campaigns: worker processes that fuzz one policy, and the parent, which alone writes what they find."""
