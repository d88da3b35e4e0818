"""An account at work in one process: its profile, the lock, the agent, the connection."""
