"""`make fuzz`: damaged audio, sent to the endpoints of a separate server."""
