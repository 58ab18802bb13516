"""What a small guard before a large one saves. Simulated."""
