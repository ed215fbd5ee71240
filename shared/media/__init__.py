"""Untrusted media: a fork server whose confined children probe and decode one file each."""
