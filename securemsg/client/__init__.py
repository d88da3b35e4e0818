"""The client's domain: sessions, contacts and messages. No Twisted, no sockets, no SQL."""
