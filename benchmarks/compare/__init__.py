"""The comparison, `make bench`: this pipeline beside three others, on Apache Kafka, in one run."""
