"""The parts of /docs that FastAPI does not derive: errors, forms, event streams and webhooks."""
