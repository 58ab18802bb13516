"""Three candidates beside the shipped CPU model on Apache Kafka: which are certified, and after how many posts."""
