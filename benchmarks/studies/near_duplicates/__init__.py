"""Which texts may stand in for one another, what that saves, and what harm it does."""
