"""A cycle from end to end on the CPU model, with people who are simulated."""
