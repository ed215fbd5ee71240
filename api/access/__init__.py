"""Who may do what: API keys, stream tokens, whose job is whose, and the web pages of other origins."""
