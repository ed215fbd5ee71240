"""Requests to servers that clients name: to public addresses alone, unless a setting says otherwise."""
