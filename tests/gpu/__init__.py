"""A test of the Qwen engines on a GPU with published models: `make gpu-test`."""
