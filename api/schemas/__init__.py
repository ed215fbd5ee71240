"""What clients get, as they see it: one module for each purpose."""
