"""The shipped screen before the engine: what it answers, what that changes, and what it saves, over the tolerance."""
