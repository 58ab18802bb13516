"""Settings: parsed, validated, frozen; where each value comes from; the page about them."""
