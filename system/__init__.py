"""What lies outside a scenario: the time, seeds, signals, locks between processes, and what the system refuses."""
