"""Training a screen: from prepared rows to weights, and to what its scores are worth, by language and kind."""
