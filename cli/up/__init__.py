"""The local server: Redis, a worker and the api as one command, started, kept running and ended together."""
