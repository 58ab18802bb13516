"""Shared patterns between two simulated institutions: how soon, how many, at what cost, and what they give away."""
