"""The command `qwen3-asr`: one module or package for each of its commands."""
