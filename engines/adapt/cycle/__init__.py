"""The cycle: from what people decided to a candidate, step by step over files. Texts stay encrypted by author until a step needs them."""
