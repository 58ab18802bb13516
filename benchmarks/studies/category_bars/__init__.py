"""Do low bars of categories stop harmful texts whose likeliest severity is safe? Before and after, in one run."""
