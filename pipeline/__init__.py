"""Kafka to engine to Kafka: the path of a post, and everything its operators touch."""
