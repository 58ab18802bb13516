"""A candidate beside the incumbent: which posts both judge, how their verdicts compare, and what may follow. Pure so far."""
