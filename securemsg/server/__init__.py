"""The server's domain: directory, mailboxes and commands. No Twisted, no sockets, no SQL."""
