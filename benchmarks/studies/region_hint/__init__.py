"""Does the region hint move a score, and towards the label? The same texts with different regions or none."""
