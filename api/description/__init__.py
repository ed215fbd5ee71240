"""What /docs says of the doors, their errors and their events."""
