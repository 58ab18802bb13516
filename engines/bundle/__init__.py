"""The engine bundle: manifest, calibration and tokenizer."""
