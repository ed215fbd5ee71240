"""Requests to hosts that clients name: to public addresses only, unless ALLOW_PRIVATE_ADDRESSES is set."""
