"""What the relay costs, measured from the outside: see C{docs/performance.md}."""
