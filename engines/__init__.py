"""Text to assessment: prompts, backends, parsing and bundles. Imports schemas only."""
