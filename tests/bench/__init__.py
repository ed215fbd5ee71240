"""How long the server takes for what reliability depends on: `make bench-reliability`."""
