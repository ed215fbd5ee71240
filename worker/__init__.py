"""The worker: claims one job at a time and transcribes it in a model process of its own."""
