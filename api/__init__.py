"""The HTTP front: stores uploads, enqueues jobs and answers clients. CPU only."""
