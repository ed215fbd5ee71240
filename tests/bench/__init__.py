"""Measurements of speed, memory and reliability: `make bench`."""
