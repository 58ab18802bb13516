"""Three workers replaced one by one under load, and a rollout of 24 that is simulated."""
