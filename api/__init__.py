"""The HTTP front: stores uploads, enqueues jobs, tells clients how they go. CPU only."""
