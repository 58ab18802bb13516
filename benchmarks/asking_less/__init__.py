"""The figures of docs/asking-less.md, from the reports."""
