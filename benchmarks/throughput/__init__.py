"""First figures: posts a second of one worker, and end to end against the engine alone."""
