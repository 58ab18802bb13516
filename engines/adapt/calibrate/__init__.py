"""Calibrating: from held-in scores to a calibration and thresholds."""
