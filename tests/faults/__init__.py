"""The fault suite: breaks things under load and accounts for every post. ``python -m faults.run --list``."""
