"""The sources of policies, and their check before they run."""
