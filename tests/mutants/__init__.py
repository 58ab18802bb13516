"""Mutants: the product with one handling of failure removed, which the tests must notice."""
