"""The only SQL: the server's stores and the client's profile."""
