"""`make fuzz`: damaged audio, through the doors of a server of its own."""
