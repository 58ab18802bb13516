"""What a small guard before a large one saves, simulated, and the harm that one does, measured."""
