"""The path of a post, from the window to the verdict."""
