"""What this pipeline is compared with: each a process of its own, `python -m compare.contenders.NAME settings.json`."""
