"""From a text to prompts, and from what a model wrote to a finding."""
