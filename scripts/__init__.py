"""Programs that are run from a checkout; no part of the installed distribution."""
