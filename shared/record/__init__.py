"""The job record in Redis: its keys, transitions and readings."""
