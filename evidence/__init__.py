"""Evidence: what a run did, why it is illegal, and whose skip explains it, for people and for the database."""
