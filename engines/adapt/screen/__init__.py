"""Measuring a small guard: from its evaluation to what its scores are worth, by language and kind."""
