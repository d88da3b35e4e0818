"""Public prekeys: taken from the device that signed them, given to whoever wants to write to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define

from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IPrekeyStore, StoredPrekey
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
    """The stock of all devices."""

    _accounts: AccountCache
    _store: IPrekeyStore
    _directory: Directory
    _settings: Settings
    _uploads: Buckets
    _claims_between: Buckets
    _claims_of: Buckets
    _now: Callable[[], float]

    async def upload(self, caller: ClientConnection, message: Upload) -> Done:
        """
        Take what a device offers, if it signed it.

        @raise Refusal: C{unauthentic}; C{bad-request}: a key of the wrong size, or an id of 0; C{too-many-prekeys};
            C{rate-limited}.
        """
        device = caller.device
        if not self._uploads.take(device.mailbox):
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

    async def claim(self, caller: ClientConnection, message: Claim) -> Bundle:
        """
        Hand out what is needed to begin a session. An account that asks too often for a device, or whoever asks for a device
        that is asked for too often, gets the last-resort bundle: an answer in any case, and prekeys are left for others.

        @raise Refusal: C{no-such-account}, C{no-such-device}, C{no-prekeys}, C{rate-limited}.
        """
        self._directory.count(caller)
        account = await self._accounts.load(message.account)
        if account is None:
            raise Refusal("no-such-account")
        device = account.devices.get(message.device)
        if device is None:
            raise Refusal("no-such-device")
        requester = caller.device.mailbox
        between = caller.device.account.name, device.mailbox
        fresh = self._claims_between.take(between) and self._claims_of.take(device.mailbox)
        bundle = await self._store.claim(device.mailbox, requester, int(self._now()), fresh, message.spent)
        if bundle is None:
            raise Refusal("no-prekeys")
        if fresh:
            self._watch(device)
        return Bundle(
            message.request,
            _given(bundle.signed),
            _given(bundle.kem),
            bundle.kem_is_last_resort,
            _given(bundle.one_time) if bundle.one_time is not None else None,
        )

    def _watch(self, device: DeviceState) -> None:
        """Prekeys of this device were handed out: have it told when it runs low, if it is here and does not know."""
        if device.reader is not None and not device.low_stock_sent:
            device.reader.run(self._low_stock(device))

    async def _low_stock(self, device: DeviceState) -> Stock | None:
        """What a device is told when its one-time prekeys run low."""
        left = await self._store.stock(device.mailbox)
        if min(left.one_time, left.kem) >= self._settings.low_stock or device.low_stock_sent:
            return None
        device.low_stock_sent = True
        return Stock(PrekeyStock(left.signed_id, left.last_resort_id, left.one_time, left.kem))


def _check(signer: bytes, label: bytes, size: int, prekeys: Sequence[Prekey]) -> tuple[StoredPrekey, ...]:
    """
    Prekeys of one kind, as the store wants them.

    @raise Refusal: C{unauthentic}, C{bad-request}.
    """
    for prekey in prekeys:
        if len(prekey.key) != size or not prekey.id:
            raise Refusal("bad-request")
        keys.verify(signer, prekey.signature, label, prekey.id.to_bytes(ID_SIZE, "big"), prekey.key)
    return tuple(StoredPrekey(prekey.id, prekey.key, prekey.signature) for prekey in prekeys)


def _given(stored: StoredPrekey) -> Prekey:
    """A prekey as it is handed out."""
    return Prekey(stored.id, stored.key, stored.signature)
