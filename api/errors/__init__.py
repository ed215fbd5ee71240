"""Errors of the API: the tree, the table of HTTP answers and the handlers."""
