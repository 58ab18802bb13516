"""What is asked of the engine for one post: two layouts, three ways, the engine's own counts, and what is found."""
