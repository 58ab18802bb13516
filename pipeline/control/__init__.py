"""Facts that workers share, and the topic that carries them."""
