"""Whisper on the CPU by faster-whisper. Only this package imports it, in `load`."""
