"""The server's stores in SQLite."""
