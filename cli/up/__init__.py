"""`qwen3-asr up`: Redis, a worker and the api as one command that starts, supervises and stops them."""
