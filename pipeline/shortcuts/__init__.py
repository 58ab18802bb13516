"""Answers without the engine: caches, near duplicates, the screen and its switch."""
