"""The client's domain: sessions, trust and the journal of messages. No Twisted, no sockets, no SQL."""
