"""A soak: posts at a steady rate for most of an hour, workers killed at random moments, everything accounted for."""
