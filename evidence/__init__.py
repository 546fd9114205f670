"""Evidence: what a run did, why it is illegal, and which skip explains it, for people and for the database."""
