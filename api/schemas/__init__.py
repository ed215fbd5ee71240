"""The bodies of answers, events and webhooks, with their descriptions in /docs."""
