"""Whole systems run from outside: the demo, the bench, sample posts."""
