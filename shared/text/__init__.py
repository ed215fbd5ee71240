"""Text rules that subtitles and engines share: punctuation, sentences and letter alignment."""
