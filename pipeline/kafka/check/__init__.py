"""The diagnosis behind ``sluicegate check``: what a worker with these settings would find missing."""
