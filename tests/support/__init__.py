"""Harnesses that the tests share: brokers, worker processes, and what reads the topics back."""
