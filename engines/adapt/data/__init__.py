"""Data: from labelled files to rows for training, with a decision about each."""
