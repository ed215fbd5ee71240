"""The one format of sound inside the server: mono, 16 kHz."""

SAMPLE_RATE_HZ = 16_000
"""Samples in a second; every count of samples in jobs, windows and pipes is at this rate."""
