"""The shapes of an answer: jobs and transcripts as JSON, text, SubRip and WebVTT."""
