"""Inputs: scenarios as the engines draw, mutate and combine them, from a source of random numbers."""
