"""The bench: an open-loop load against a cluster, and a report that is counted from the topics."""
