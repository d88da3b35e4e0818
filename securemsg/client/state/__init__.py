"""What the client keeps: its profile, contacts, counters, and records, all sealed."""
