"""Whisper on the CPU by faster-whisper."""
