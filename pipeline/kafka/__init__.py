"""Kafka: records in, records out, topics and clients."""
