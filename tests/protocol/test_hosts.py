"""Hosts and ports: every form that is read, and the one that is written."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.protocol.hosts import host_port, is_host, parse_host, parse_host_port

HOSTS = (
    ("example.org", "example.org"),
    ("my_machine", "my_machine"),
    ("127.0.0.1", "127.0.0.1"),
    ("::1", "::1"),
    ("[::1]", "::1"),
    ("2001:DB8:0:0::1", "2001:db8::1"),
    ("[2001:db8::1]", "2001:db8::1"),
    ("::ffff:192.0.2.1", "::ffff:c000:201"),
    ("fe80::1%eth0", "fe80::1%eth0"),
)
NO_HOSTS = (
    *("", "[]", "[::1", "::1]", "[127.0.0.1]", "[example.org]", "[[::1]]", "1::2::3"),
    *("a b", "-a", "a..b", "1.2.3", "x" * 254),
)
WITH_PORTS = (
    ("example.org", ("example.org", 8443)),
    ("example.org:9", ("example.org", 9)),
    ("192.0.2.1:65535", ("192.0.2.1", 65535)),
    ("::1", ("::1", 8443)),
    ("[::1]", ("::1", 8443)),
    ("[2001:DB8::1]:443", ("2001:db8::1", 443)),
    # Where the port of an IPv6 address begins would be a guess.
    ("2001:db8::1:443", ("2001:db8::1:443", 8443)),
)


class HostTests(SynchronousTestCase):
    """Tables."""

    def test_hosts(self) -> None:
        """A host is a name or an address; brackets are for IPv6 alone."""
        for text, host in HOSTS:
            self.assertEqual(parse_host(text), host)
            self.assertTrue(is_host(host))
        for text in NO_HOSTS:
            self.assertRaises(ValueError, parse_host, text)

    def test_with_port(self) -> None:
        """A port follows a colon; without one the default is taken."""
        for text, expected in WITH_PORTS:
            self.assertEqual(parse_host_port(text, 8443), expected)
        for text in (*NO_HOSTS, ":1", "a:", "a:0", "a:65536", "a:x", "a:1:2", "[::1]:", "[::1]x", "[::1]:-1", "a:٣"):
            self.assertRaises(ValueError, parse_host_port, text, 8443)

    def test_written(self) -> None:
        """What is written reads back as the same."""
        for _, host in HOSTS:
            self.assertEqual(parse_host_port(host_port(host, 443), 8443), (host, 443))
        self.assertEqual(host_port("::1", 8443), "[::1]:8443")
        self.assertEqual(host_port("example.org", 8443), "example.org:8443")
