"""The format of sound within the server: mono, 16 kHz."""

SAMPLE_RATE_HZ = 16_000
"""Samples per second. Every number of samples in jobs, windows and pipes is at this rate."""
