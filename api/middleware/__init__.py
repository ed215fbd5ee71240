"""Middleware: the layers around every request."""
