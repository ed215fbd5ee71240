"""An engine for tests: it makes words from the audio and misbehaves on request."""
