"""What clients hear of a job while they wait for it: its events, its partial text, its end."""
