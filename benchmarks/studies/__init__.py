"""Questions that are answered: each study still runs, with `PYTHONPATH=benchmarks python -m studies.NAME`."""
