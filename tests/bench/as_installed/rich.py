"""A stand-in that hides the package `rich`: structlog imports it where it is; only tests install it."""

raise ImportError("hidden from measured servers")
