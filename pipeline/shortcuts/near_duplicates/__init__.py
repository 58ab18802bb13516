"""Near duplicates: texts that differ from a judged one in nothing that could carry meaning."""
