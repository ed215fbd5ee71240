"""The speech recognition engines: a protocol, the catalog, the registry, and a package for each engine."""
