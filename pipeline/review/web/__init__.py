"""The pages of the review desk. Every page works without a script."""
