"""Measurements of overhead and reliability: `make bench-reliability`."""
