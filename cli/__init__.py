"""The command `qwen3-asr`: its command line, and a package for its command `up`."""
