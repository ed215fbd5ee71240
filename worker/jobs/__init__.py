"""A job from its claim to its final event."""
