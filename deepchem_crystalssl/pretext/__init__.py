"""Self-supervision from its parts: losses and objectives, pure functions of tensors."""
