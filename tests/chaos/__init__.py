"""`make chaos`: a server under load whose parts are killed, frozen and cut off, and a count of the harm."""
