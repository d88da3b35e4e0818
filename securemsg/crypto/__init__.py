"""Keys, key agreement and sessions: pure and synchronous. Only C{primitives} touches the cryptographic libraries."""
