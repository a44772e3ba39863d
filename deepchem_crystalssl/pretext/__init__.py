"""Self-supervised learning in parts: views of a batch, losses, objectives made of them, and presets."""
