"""What /docs says of the endpoints, their errors and their events."""
