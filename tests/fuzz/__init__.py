"""`make fuzz`: damaged audio, through the endpoints of a server of its own."""
