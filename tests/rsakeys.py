"""RSA keys for whoever needs some in the tests: to make one takes long."""

from __future__ import annotations

from securemsg.crypto.rsa import RsaKey

RSA_KEY, OTHER_KEY = RsaKey.generate(), RsaKey.generate()
