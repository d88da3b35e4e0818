"""What an agent does after a login and from time to time: upload prekeys, renew its device list, delete what is old."""

from __future__ import annotations

from functools import partial

from attrs import define, evolve, field

from securemsg.client import owndevices, renewal, restored
from securemsg.client.context import Context
from securemsg.client.owndevices import OwnDevices
from securemsg.client.requests import Answer
from securemsg.client.sessions import initiations, prekeys, pruning
from securemsg.client.state import disappearing, ownlist, settings
from securemsg.client.state.profile import DAY, Profile, load_profile, save_profile
from securemsg.client.state.records import META, load_number, save_number
from securemsg.client.state.retention import drop_old
from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.interfaces import IRecords
from securemsg.protocol import messages as m

# When the sessions were looked through last, which takes a while with many contacts.
PRUNED = b"pruned"
# How often a long connection checks prekeys and list, seconds: no more prekeys are made meanwhile.
PERIOD = prekeys.BATCH_PAUSE
# How often it looks for messages that disappear, seconds.
SWEEP = 5


@define(eq=False)
class Maintenance:
    """The maintenance of an account's agent."""

    _context: Context
    _own_devices: OwnDevices
    _stock: m.PrekeyStock = field(default=m.PrekeyStock(0, 0, 0, 0), init=False)
    _is_uploading: bool = field(default=False, init=False)
    _refreshed_at: float = field(default=0.0, init=False)
    _swept_at: float = field(default=0.0, init=False)
    # In this process.
    _has_logged_in: bool = field(default=False, init=False)

    def welcome(self, message: m.Welcome) -> None:
        """
        Logged in.

        @raise RemoteProtocolError: see L{restored.check_welcome}.
        """
        context = self._context
        context.note_server_time(message.now)
        with context.store.writing() as records:
            profile = load_profile(records) or context.profile
            if not profile.registered:
                # The token was for this registration, and is not needed any more.
                renewal.finish(records)
                profile = evolve(profile, registered=True, token=b"")
                save_profile(records, profile)
                save_number(records, META, ownlist.PUBLISHED, profile.listing.version)
            renewal.drop_new(records)
            profile = restored.check_welcome(context, records, profile, message, has_logged_in=self._has_logged_in)
            if context.is_clock_right:
                disappearing.confirm_clock(records, context.time())
            else:
                context.warn(records, "clock")
        context.profile = profile
        self._stock = message.stock
        self._is_uploading = False
        self._has_logged_in = True
        self.refresh()

    def stock_low(self, message: m.Stock) -> None:
        """
        The server reports that our prekeys run low. During an upload this is old news: if the upload is not enough, the server
        reports again.
        """
        if not self._is_uploading:
            self._stock = message.stock
            self.refresh()

    def refresh(self) -> None:
        """Upload and publish what is due, see whether our list is still ours, and delete what is of no more use."""
        context, now = self._context, self._context.time()
        self._refreshed_at = context.seconds()
        with context.store.writing() as records:
            profile = owndevices.renew(records, context.profile, now)
            self._prune(records, profile, now)
            self._check_confirmed(records, now)
            upload = None if self._is_uploading else prekeys.replenish(records, profile, self._stock, now)
            keep = settings.get(records).keep
        context.profile = profile
        if keep and context.is_clock_right:
            # A clock that is wrong must not make anything old.
            drop_old(context.store, keep, now)
        if upload is not None:
            self._is_uploading = True
            context.ask(upload, partial(self._uploaded, upload))
        self._own_devices.fetch_own()

    def tick(self) -> None:
        """Refresh, and delete what disappears, when it is time; to be called about once a second."""
        context = self._context
        if context.seconds() - self._refreshed_at >= PERIOD:
            self.refresh()
        if context.is_clock_right:
            self._sweep(is_confirmed=True)

    def idle(self) -> None:
        """As L{tick}, without a connection."""
        self._sweep(is_confirmed=False)

    def _sweep(self, *, is_confirmed: bool) -> None:
        """Delete what disappears, when it is time."""
        context = self._context
        if context.seconds() - self._swept_at >= SWEEP:
            self._swept_at = context.seconds()
            disappearing.sweep(context.store, context.time(), is_confirmed=is_confirmed)

    def _prune(self, records: IRecords, profile: Profile, now: int) -> None:
        """Delete prekeys and sessions that are of no more use."""
        prekeys.retire_claimed(records, self._stock, now)
        prekeys.prune(records, now)
        initiations.prune(records)
        if abs(now - load_number(records, META, PRUNED)) >= DAY:
            save_number(records, META, PRUNED, now)
            pruning.prune(records, profile, now)

    def _check_confirmed(self, records: IRecords, now: int) -> None:
        """Warn of a server that has not confirmed our prekeys for long."""
        since = prekeys.unconfirmed_since(records)
        if since is not None and now - since >= prekeys.UNCONFIRMED:
            self._context.warn(records, "prekeys-unconfirmed")

    def _uploaded(self, upload: m.Upload, answer: Answer | Refusal) -> None:
        self._is_uploading = False
        if self._context.channel is None:
            return
        with self._context.store.writing() as records:
            if isinstance(answer, Refusal):
                self._context.warn(records, "prekeys-refused")
                return
            prekeys.mark_uploaded(records, upload, self._context.time())
        self._stock = m.PrekeyStock(
            upload.signed.id if upload.signed else self._stock.signed_id,
            upload.last_resort.id if upload.last_resort else self._stock.last_resort_id,
            len(upload.one_time) + (0 if upload.replace else self._stock.one_time),
            len(upload.kem) + (0 if upload.replace else self._stock.kem),
        )


@define(eq=False)
class GuestMaintenance:
    """The maintenance of a guest, who has no account, prekeys or list: only the clock is checked."""

    _context: Context

    def welcome(self, message: m.Welcome) -> None:
        """
        Logged in.

        @raise RemoteProtocolError: C{bad-count}: nobody can have sent anything as this connection.
        """
        if message.highest:
            raise RemoteProtocolError("bad-count")
        self._context.note_server_time(message.now)
        if not self._context.is_clock_right:
            with self._context.store.writing() as records:
                self._context.warn(records, "clock")

    def stock_low(self, message: m.Stock) -> None:
        """There are no prekeys."""

    def tick(self) -> None:
        """Nothing is ever due."""

    def idle(self) -> None:
        """Likewise."""
