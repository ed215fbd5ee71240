"""The job record in Redis: its keys, transitions and readings.

A function that returns a `ScriptCall` or `PlainCall` only describes the call; see `shared.record.scripts`.
Times are those of the Redis server's clock.
"""
