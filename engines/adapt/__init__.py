"""Adaptation: from labelled examples to a model that knows your rules. Preparing needs the extra ``prepare``."""
