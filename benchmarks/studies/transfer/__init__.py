"""Leave sources out: how well adapter and baseline judge a source that neither has seen."""
