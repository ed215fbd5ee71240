"""Qwen3-ASR on torch and on vLLM, and Qwen's forced aligner. Only this package imports torch, in `load`."""
