"""Webhooks: telling somebody's server how a job ended, by the Standard Webhooks convention.

The api checks here what it is asked for; a process of its own (`python -m api.webhooks`) delivers.
"""
