"""Untrusted media: a fork server whose sandboxed decoders each probe or decode one file."""
