"""Gating: a new model against the current one on the same rows; a worse one does not pass."""
