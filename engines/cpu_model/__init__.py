"""The CPU model: fetched, merged with its adapter, and written as a bundle."""
