"""Speech detection, windows and the PCM pipe."""
