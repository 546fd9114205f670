"""Inputs: scenarios that the engines draw, mutate and combine, from a source of random numbers."""
