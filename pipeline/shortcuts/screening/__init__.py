"""What the screen may answer, what is sampled of it, and the switch that turns it off."""
