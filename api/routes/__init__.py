"""One module of HTTP routes for each kind of thing a client asks for."""
