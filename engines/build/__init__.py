"""From a recipe to an engine bundle for TensorRT-LLM, and what a stream of posts needs of such engines."""
