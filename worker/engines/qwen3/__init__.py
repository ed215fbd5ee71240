"""Qwen3-ASR on transformers and on vLLM."""
