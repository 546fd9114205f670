"""Campaigns: worker processes that fuzz one policy, and the parent that alone writes what they find."""
