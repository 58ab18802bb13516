"""What a screen saves of the engine's time, in the worker and at the edge, on Apache Kafka; no post may be lost."""
