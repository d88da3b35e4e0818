"""The guards of protocol: what comes over the wire."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "protocol/framing.py",
        "tests/protocol/test_framing.py",
        ("if size > self.max_size:", "if False:", "FramingTests::test_largest"),
        ("if size > max_size:", "if False:", "FramingTests::test_own_frame_too_large"),
    ),
    *guards(
        "protocol/connection.py",
        "tests/protocol/test_states.py",
        (
            "FrameDecoder(framing.MAX_GREETING_FRAME)",
            "FrameDecoder(framing.MAX_FRAME)",
            "tests/server/test_connection.py::RoleTests::test_large_before_login",
        ),
        ("self._by_device and ROOMS in", "ROOMS in", "PairTests::test_limit_with_rooms"),
        (" and ROOMS in message.features", "", "PairTests::test_limit_with_rooms"),
        (
            "                self._allow_room_frames()\n",
            "                self._decoder.max_size = self._max_sent = framing.MAX_ROOM_FRAME\n",
            "PairTests::test_limit_with_rooms",
        ),
        ('if message.role == "register":', "if True:", "tests/server/test_connection.py::RoleTests::test_large_before_login"),
        ("elif self.phase is not Phase.READY:", "elif False:", "PairTests::test_unknown"),
        ('raise RemoteProtocolError("out-of-turn")', "return", "TripleTests::test_receiving"),
        (
            "if self.phase is Phase.CLOSED:\n            return None",
            "if False:\n            return None",
            "PairTests::test_nothing_after_the_last_word",
        ),
        (
            "        except RemoteProtocolError:\n            self.phase = Phase.CLOSED\n",
            "        except RemoteProtocolError:\n",
            "PairTests::test_garbage_after_good",
        ),
    ),
    *guards(
        "protocol/messages.py",
        "tests/protocol/test_messages.py",
        ("encode_message(message) != payload and isinstance(message, Record)", "False", "MessageTests::test_one_encoding"),
        (" or items[0] in KNOWN_TAGS:", ":", "MessageTests::test_missing_item"),
        (
            "except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:",
            "except (msgspec.DecodeError, UnicodeDecodeError) as error:",
            "MessageTests::test_deep_nesting",
        ),
        (
            "except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:",
            "except (msgspec.DecodeError, RecursionError) as error:",
            "MessageTests::test_text_is_utf8",
        ),
        ("Id = Annotated[bytes, Meta(min_length=ID_SIZE, max_length=ID_SIZE)]", "Id = bytes", "MessageTests::test_sizes"),
        ("Key = Annotated[bytes, Meta(min_length=32, max_length=32)]", "Key = bytes", "MessageTests::test_sizes"),
        (
            "Nonce = Annotated[bytes, Meta(min_length=NONCE_SIZE, max_length=NONCE_SIZE)]",
            "Nonce = bytes",
            "tests/protocol/test_envelope.py::RecordTests::test_limits",
        ),
        ("Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]", "Signature = bytes", "MessageTests::test_sizes"),
        ("Own = Annotated[bytes, Meta(max_length=MAX_OWN)]", "Own = bytes", "MessageTests::test_sizes"),
        ("Common = Annotated[bytes, Meta(max_length=MAX_COMMON)]", "Common = bytes", "MessageTests::test_sizes"),
        ("parts: Annotated[list[Part], Meta(max_length=MAX_DEVICES)]", "parts: list[Part]", "MessageTests::test_sizes"),
        (
            "to: Annotated[list[Destination], Meta(min_length=1, max_length=MAX_DESTINATIONS)]",
            "to: list[Destination]",
            "MessageTests::test_sizes",
        ),
        ("Counter = Annotated[int, Meta(ge=0, le=2**63 - 1)]", "Counter = int", "MessageTests::test_wrong_types"),
        ("body: Annotated[bytes, Meta(max_length=MAX_LIST_BODY)]", "body: bytes", "MessageTests::test_sizes"),
        (
            "one_time: Annotated[list[Prekey], Meta(max_length=MAX_PREKEYS_A_PAGE)]",
            "one_time: list[Prekey]",
            "MessageTests::test_sizes",
        ),
    ),
    *guards(
        "protocol/devices.py",
        "tests/protocol/test_devices.py",
        ("if encode_device_list(devices) != body:", "if False:", "DeviceListTests::test_one_encoding"),
        (
            'for column in ("id", "signing_key", "agreement_key"):',
            'for column in ("signing_key", "agreement_key"):',
            "DeviceListTests::test_twice",
        ),
        (
            'for column in ("id", "signing_key", "agreement_key"):',
            'for column in ("id", "agreement_key"):',
            "DeviceListTests::test_twice",
        ),
        (
            'for column in ("id", "signing_key", "agreement_key"):',
            'for column in ("id", "signing_key"):',
            "DeviceListTests::test_twice",
        ),
        ("if not NAME_PATTERN.fullmatch(name):", "if not NAME_PATTERN.match(name):", "NameTests::test_bad"),
        (" or name.startswith(RESERVED_PREFIX)", "", "NameTests::test_reserved"),
        ("return name in RESERVED_NAMES or ", "return ", "NameTests::test_reserved"),
        ("Meta(ge=1, le=MAX_VERSION)", "Meta(ge=0, le=MAX_VERSION)", "DeviceListTests::test_version_from_one"),
        ("Meta(min_length=1, max_length=MAX_DEVICES)", "Meta(min_length=1)", "DeviceListTests::test_number_of_devices"),
        (
            "Meta(min_length=1, max_length=MAX_DEVICES)",
            "Meta(max_length=MAX_DEVICES)",
            "DeviceListTests::test_number_of_devices",
        ),
    ),
    *guards(
        "protocol/envelope.py",
        "tests/protocol/test_envelope.py",
        ("and encode_record(record) != data:", "and False:", "RecordTests::test_one_encoding"),
        ("or record.keep else _UNLIMITED", "or True else _UNLIMITED", "RecordTests::test_without_keep"),
        ("if SUITES.get(suited.suite) != suited.version:", "if suited.suite not in SUITES:", "HeaderTests::test_unknown_suite"),
        ("if len(data) > MAX_CONTENT:", "if False:", "PaddingTests::test_too_large"),
        (
            "if not stripped.endswith(_PAD_MARK) or bucket(len(stripped) - 1) != len(data):",
            "if bucket(len(stripped) - 1) != len(data):",
            "PaddingTests::test_bad",
        ),
        (
            "if not stripped.endswith(_PAD_MARK) or bucket(len(stripped) - 1) != len(data):",
            "if not stripped.endswith(_PAD_MARK):",
            "PaddingTests::test_bad",
        ),
        (
            "Positive = Annotated[int, Meta(ge=1, le=2**63 - 1)]",
            "Positive = Annotated[int, Meta(ge=0, le=2**63 - 1)]",
            "tests/client/sessions/test_attacks.py::OpeningTests::test_no_prekey_id",
        ),
        ("Annotated[bytes, Meta(min_length=1088, max_length=1088)]", "bytes", "RecordTests::test_limits"),
        ("Meta(max_length=MAX_RECEIPT_IDS)", "Meta()", "RecordTests::test_limits"),
        ("Meta(max_length=MAX_RESET_COUNTERS)", "Meta()", "RecordTests::test_limits"),
        ("Annotated[list[Missing], Meta(max_length=MAX_RESET_ENTRIES)]", "list[Missing]", "RecordTests::test_limits"),
        ("Meta(max_length=MAX_CONTINUED)", "Meta()", "RecordTests::test_limits"),
        (
            '(data + _PAD_MARK).ljust(bucket(len(data)), b"\\x00")',
            "(data + _PAD_MARK).ljust(0)",
            "PaddingTests::test_same_class_same_length",
        ),
    ),
    *guards(
        "protocol/hosts.py",
        "tests/protocol/test_hosts.py",
        ("    if not is_host(host):\n", "    if False:\n", "HostTests::test_hosts"),
        ('if ":" in host or in_brackets:', 'if ":" in host:', "HostTests::test_hosts"),
        ("or not 1 <= int(match[\"port\"]) <= MAX_PORT:", "or False:", "HostTests::test_with_port"),
        ('return f"[{host}]:{port}" if ":" in host else', "return", "HostTests::test_written"),
    ),
    *guards(
        "protocol/invite.py",
        "tests/protocol/test_invite.py",
        ("if len(text) > MAX_INVITE:", "if False:", "InviteTests::test_bad"),
        ("fits = sizes_fit and inviter_fits and secret_fits", "fits = inviter_fits and secret_fits", "InviteTests::test_bad"),
        ("fits = sizes_fit and inviter_fits and secret_fits", "fits = sizes_fit and secret_fits", "InviteTests::test_bad"),
        ("fits = sizes_fit and inviter_fits and secret_fits", "fits = sizes_fit and inviter_fits", "InviteTests::test_secret"),
        ("if url.scheme != SCHEME or not is_host(link.host)", "if not is_host(link.host)", "InviteTests::test_bad"),
        ("if url.scheme != SCHEME or not is_host(link.host)", "if url.scheme != SCHEME", "InviteTests::test_bad"),
        ("validate=True)", "validate=False)", "InviteTests::test_bad"),
    ),
    *guards(
        "protocol/auth.py",
        "tests/protocol/test_auth.py",
        (
            'return (hello, version.to_bytes(4, "big"), ",".join(features).encode(), nonce, identity, '
            "*binding.parts())",
            'return (hello, version.to_bytes(4, "big"), ",".join(features).encode(), nonce, identity)',
            "TranscriptTests::test_challenge",
        ),
        (
            'return (hello, version.to_bytes(4, "big"),',
            'return (version.to_bytes(4, "big"),',
            "tests/client/test_login.py::LoginTests::test_repeated_challenge",
        ),
        (
            '",".join(features).encode(), nonce, identity, *binding',
            "nonce, identity, *binding",
            "tests/client/test_login.py::LoginTests::test_altered_challenge",
        ),
        (
            "self.kind.encode(), self.exporter, self.spki)",
            "self.kind.encode(), self.spki)",
            "tests/client/test_login.py::LoginTests::test_other_exporter",
        ),
        (
            "self.kind.encode(), self.exporter, self.spki)",
            "self.kind.encode(), self.exporter)",
            "tests/client/test_login.py::LoginTests::test_other_key",
        ),
        (
            'return (hello, challenge, identity, account.encode(), device, highest.to_bytes(8, "big"), '
            "*binding.parts())",
            'return (hello, challenge, identity, account.encode(), device, highest.to_bytes(8, "big"))',
            "TranscriptTests::test_proof",
        ),
        (
            'return (hello, challenge, identity, account.encode(), device, highest.to_bytes(8, "big"), '
            "*binding.parts())",
            'return (hello, identity, account.encode(), device, highest.to_bytes(8, "big"), *binding.parts())',
            "TranscriptTests::test_proof",
        ),
        (
            'account.encode(), device, highest.to_bytes(8, "big"), *binding',
            "account.encode(), device, *binding",
            "TranscriptTests::test_proof",
        ),
        ("identity, account.encode(), device, highest", "identity, device, highest", "TranscriptTests::test_proof"),
        (
            "        register.devices.body,\n        register.devices.signature,\n        *binding.parts(),",
            "        register.devices.body,\n        register.devices.signature,",
            "TranscriptTests::test_registration",
        ),
        ("        register.devices.body,\n", "", "TranscriptTests::test_registration"),
        ("        register.token,\n", "", "TranscriptTests::test_registration"),
    ),
)
