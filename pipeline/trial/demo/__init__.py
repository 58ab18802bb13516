"""The demo: the whole path on one machine, counted from the topics."""
