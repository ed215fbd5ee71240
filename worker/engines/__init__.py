"""The speech recognition engines, each behind the protocol in `protocol.py`."""
