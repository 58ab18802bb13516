"""Label quality: how far people agree, how often they err, and what a uniform sample says about the live engine. Pure."""
