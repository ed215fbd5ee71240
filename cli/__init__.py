"""The command `qwen3-asr`."""
