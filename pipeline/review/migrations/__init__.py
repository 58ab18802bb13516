"""Changes of the store's shape, in their order."""
