"""The shipped adapter, its base and the baseline on the same labelled rows."""
