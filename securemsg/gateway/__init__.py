"""Webhooks in, end-to-end encrypted messages out (C{securemsg gateway})."""
