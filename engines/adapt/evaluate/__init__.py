"""Evaluating: labelled rows that an engine judged, and what can be measured on them. Needs the extra ``evaluate``."""
