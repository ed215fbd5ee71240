"""An engine for tests, without a model: it derives words from the audio and misbehaves on request."""
