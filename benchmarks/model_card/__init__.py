"""The model card of the shipped adapter, made from the reports."""
