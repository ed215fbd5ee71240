"""The way in: from the form of a request, with its file or URL, to a job in the queue."""
