"""Public prekeys: devices upload them, and others claim them to start a session."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define

from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IPrekeyStore, StoredBundle, StoredPrekey
from securemsg.protocol.messages import Bundle, Claim, Done, Prekey, PrekeyStock, Stock, Upload
from securemsg.server.accounts import AccountCache, DeviceState
from securemsg.server.connection import ClientConnection
from securemsg.server.directory import Directory
from securemsg.server.limits import Buckets, Settings

X25519_SIZE = 32
# ML-KEM-768, FIPS 203, table 3.
KEM_SIZE = 1184
ID_SIZE = 8


@define(eq=False)
class Prekeys:
    """Uploads and claims of prekeys."""

    _accounts: AccountCache
    _store: IPrekeyStore
    _directory: Directory
    _settings: Settings
    _uploads: Buckets
    _claims_between: Buckets
    _claims_of: Buckets
    _now: Callable[[], float]

    async def upload(self, connection: ClientConnection, message: Upload) -> Done:
        """
        Store the prekeys that a device has signed.

        @raise Refusal: C{unauthentic}; C{bad-request}: a key is invalid or has the wrong size, or the id 0;
            C{too-many-prekeys}; C{rate-limited}.
        """
        device = connection.device
        if not self._uploads.consume(device.rate_key):
            raise Refusal("rate-limited")
        signer = device.signing_key
        signed = _check(signer, keys.SIGNED_PREKEY, X25519_SIZE, [message.signed] if message.signed else [])
        last = _check(signer, keys.LAST_RESORT_PREKEY, KEM_SIZE, [message.last_resort] if message.last_resort else [])
        one_time = _check(signer, keys.ONE_TIME_PREKEY, X25519_SIZE, message.one_time)
        kem = _check(signer, keys.KEM_PREKEY, KEM_SIZE, message.kem)
        await self._store.add_prekeys(
            device.mailbox,
            signed[0] if signed else None,
            last[0] if last else None,
            one_time,
            kem,
            self._settings.max_prekeys,
            message.replace,
        )
        device.low_stock_sent = False
        return Done(message.request)

    async def claim(self, connection: ClientConnection, message: Claim) -> Bundle:
        """
        Hand out the prekeys to start a session with a device. If the account has claimed prekeys of this device too often, or
        everybody together has, it gets the last-resort bundle: there is always an answer, and prekeys are left for others. The
        same bundle again counts as a question alone: the answer may have been lost.

        @raise Refusal: C{no-such-account}, C{no-such-device}, C{no-prekeys}, C{rate-limited}.
        """
        self._directory.count(connection)
        bundle = await self._store.load_claim(
            message.account, message.device, connection.device.mailbox, int(self._now()), message.spent
        )
        if bundle is None:
            bundle = await self._claim(connection, message)
        return Bundle(
            message.request,
            _public(bundle.signed),
            _public(bundle.kem),
            bundle.kem_is_last_resort,
            _public(bundle.one_time) if bundle.one_time is not None else None,
        )

    async def _claim(self, connection: ClientConnection, message: Claim) -> StoredBundle:
        """
        Take new prekeys.

        @raise Refusal: C{no-such-account}, C{no-such-device}, C{no-prekeys}.
        """
        account = await self._accounts.load(message.account)
        if account is None:
            raise Refusal("no-such-account")
        device = account.devices.get(message.device)
        if device is None:
            raise Refusal("no-such-device")
        requester = connection.device
        between = requester.rate_key, device.mailbox
        # Neither is used up where the other refuses: the last-resort bundle then costs nothing, however often it is claimed.
        fresh = self._claims_of.has_room(device.mailbox) and self._claims_between.consume(between)
        if fresh:
            self._claims_of.consume(device.mailbox)
        bundle = await self._store.claim(device.mailbox, requester.mailbox, int(self._now()), fresh, message.spent)
        if bundle is None:
            raise Refusal("no-prekeys")
        if fresh:
            self._check_stock(device)
        return bundle

    def _check_stock(self, device: DeviceState) -> None:
        """Check the stock of a device that is connected and has not been told yet."""
        if device.reader is not None and not device.low_stock_sent:
            device.reader.run(self._low_stock(device))

    async def _low_stock(self, device: DeviceState) -> Stock | None:
        """The message to a device whose one-time prekeys run low; C{None}: they do not."""
        left = await self._store.stock(device.mailbox)
        if min(left.one_time, left.kem) >= self._settings.low_stock or device.low_stock_sent:
            return None
        device.low_stock_sent = True
        return Stock(PrekeyStock(left.signed_id, left.last_resort_id, left.one_time, left.kem))


def _check(signer: bytes, label: bytes, size: int, prekeys: Sequence[Prekey]) -> tuple[StoredPrekey, ...]:
    """
    Check prekeys of one kind, and convert them for the store.

    @raise Refusal: C{unauthentic}, C{bad-request}.
    """
    for prekey in prekeys:
        if len(prekey.key) != size or not prekey.id or (size == X25519_SIZE and not keys.is_x25519_key(prekey.key)):
            raise Refusal("bad-request")
        keys.verify(signer, prekey.signature, label, prekey.id.to_bytes(ID_SIZE, "big"), prekey.key)
    return tuple(StoredPrekey(prekey.id, prekey.key, prekey.signature) for prekey in prekeys)


def _public(stored: StoredPrekey) -> Prekey:
    return Prekey(stored.id, stored.key, stored.signature)
