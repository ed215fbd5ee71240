"""The model process and its host."""
