"""Access of clients: API keys, stream tokens, job owners, stream limits, and the state of each request."""
