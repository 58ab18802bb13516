"""Simulated posts a second of one H100, for both layouts, with and without reuse. No GPU is used."""
