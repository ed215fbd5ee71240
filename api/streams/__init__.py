"""Streams: the events, the partial text and the end of a job, for connected clients."""
