"""The figures of docs/shortcuts.md, from the reports."""
