"""Speech detection and the cutting of audio into windows."""
