"""Harmful posts with something harmless around them: how many are allowed, and what it costs to stop them."""
