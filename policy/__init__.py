"""Where a policy comes from, and what is checked of it before it runs."""
