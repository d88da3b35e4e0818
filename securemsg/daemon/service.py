"""
The daemon: store, server, listeners and the contact C{server}, opened in order and closed in reverse order.

C{twistd} makes it, through L{securemsg.tap}. A fatal error of the running daemon is one line in the log, and ends the process
with status 1: no daemon keeps running without listening.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict, evolve
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure
from twisted.python.usage import UsageError

from securemsg.client.times import iso
from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.daemon.certificate import IssuedPair, OwnPair, load_credentials
from securemsg.daemon.checks import EXPECTED, check_whole
from securemsg.daemon.collector import relax_collector
from securemsg.daemon.contact import ContactOptions, open_contact
from securemsg.daemon.folder import (
    AUDIT,
    CONTACT,
    DATABASE,
    FIRST_INVITE,
    KEY_SIZE,
    SERVER_KEY,
    SOCKET,
    FolderLock,
    StateError,
    free_space,
    keep_key,
    open_folder,
    write_private,
)
from securemsg.daemon.highwater import HighWaterMark
from securemsg.daemon.hosted import HostedContact
from securemsg.daemon.limits import limit_settings
from securemsg.daemon.logs import DaemonLogging
from securemsg.daemon.monitor import Monitor
from securemsg.daemon.options import Setup
from securemsg.daemon.snapshot import Snapshots
from securemsg.daemon.twistd import DaemonLog
from securemsg.daemon.udp import UdpPort, quic_options
from securemsg.errors import Refusal
from securemsg.net.control import listen_control, observe_operator
from securemsg.net.listener import (
    HangupCounter,
    PublicFactory,
    address_of,
    connection_limit,
    listen_public,
    raise_file_limit,
)
from securemsg.net.notify import Supervisor
from securemsg.net.stream import ConnectionOptions
from securemsg.net.timeouts import CLOSING_TIME, IDLE_TIME
from securemsg.net.tls import ServerCredentials
from securemsg.net.turn import Turn, spawn
from securemsg.protocol.devices import LOBBY_NAME, SERVER_NAME
from securemsg.protocol.hosts import host_port
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.states import Side
from securemsg.responders.choice import prepare
from securemsg.server.core import Server
from securemsg.server.guests import KeyFile
from securemsg.server.limits import Settings
from securemsg.storage.errors import StorageError
from securemsg.storage.jsonlog import LineFile
from securemsg.storage.keyfiles import KeyFileMissing, make_key_file, read_key_file
from securemsg.storage.sqlite.store import ServerStore, open_server_store

if TYPE_CHECKING:
    from securemsg.net.udp import UdpListener

APPLICATION = "securemsg"

DAY = 86400
# What our own certificate names besides the advertised host.
OWN_NAMES = ("localhost", "127.0.0.1", "::1")
FIRST_INVITE_LIFETIME = 7 * DAY
TOKEN_SIZE = 16
# Bytes of one file of the audit log; nine older ones are kept.
AUDIT_SIZE = 1 << 20
# Seconds for closing the files after a fatal error.
LAST_TIME = 5
# Seconds for an orderly end in all, and of these until what was taken is committed and answered. What is not by then was
# never answered, and clients send it again.
STOP_TIME = 30
SETTLE_TIME = 15
# Seconds between two looks meanwhile.
LOOK = 0.02
# Seconds between two runs of expiry and the report of ended connections.
MINUTE = 60
# Open files besides connections.
SPARE_FILES = 256
# Fewer are of no use.
MIN_CONNECTIONS = 16

# Attributes of the setup that are not named as their options.
_OPTIONS = {"prints": "print", "descriptor": "port", "udp_descriptor": "udp-port"}
# Named here, because SQL belongs to the storage layer.
DISK_ERRORS = ("sqlite3.OperationalError", "sqlite3.DatabaseError")


class Daemon(Service):
    """The running daemon."""

    _log = Logger()
    name = APPLICATION

    def __init__(
        self,
        setup: Setup,
        state: Path,
        reactor: Any,
        leave: Callable[[int], object] = os._exit,
        log_file: DaemonLog | None = None,
        reread: Callable[[], Setup] | None = None,
        logging: DaemonLogging | None = None,
        end_at_signal: Callable[[], None] = lambda: None,
    ) -> None:
        """
        @param leave: ends the process at once.
        @param log_file: for twistd's log, if it goes to one.
        @param reread: reads the options again, with their file; raises C{UsageError}.
        @param logging: how it is written; C{None}: another logger does that.
        @param end_at_signal: has the next signal end the process at once.
        """
        self._reread = reread
        self._end_at_signal = end_at_signal
        self._supervisor = Supervisor(os.environ)
        self._watchdog = LoopingCall(self._ping_watchdog)
        self._watchdog.clock = reactor
        self._stores: ServerStore | None = None
        self._log_file = log_file
        self._logging = logging
        self._setup = setup
        self._state = state
        self._reactor = reactor
        self._leave = leave
        # Before the daemon leaves the terminal, and with it the folder in which it was started.
        self._answers = prepare(setup.answer)
        self._lock = FolderLock(state)
        self._audit = LineFile(state / AUDIT, AUDIT_SIZE)
        self._monitor = Monitor(reactor, time.time)
        self._hangups = HangupCounter(self._monitor.hangups)
        self._minutes = LoopingCall(self._tick)
        self._minutes.clock = reactor
        self._ports: list[IListeningPort] = []
        self._starting: Deferred[None] | None = None
        self._closing: Deferred[None] | None = None
        self._ending = False
        self._high_water: HighWaterMark | None = None
        self._core: Server | None = None
        self._contact: HostedContact | None = None
        self._public: PublicFactory | None = None
        self._udp: UdpListener | None = None
        self._issued: IssuedPair | None = None
        self._own: OwnPair | None = None
        # What serves new connections over UDP another certificate.
        self._renew_udp: Callable[[], None] = lambda: None

    def setServiceParent(self, parent: Any) -> None:
        """Give twistd the observer of its log, which it takes from the application."""
        super().setServiceParent(parent)
        if self._logging is not None:
            make = self._logging.observer
            stream = sys.stderr if self._logging.as_json else sys.stdout
            observer = make(stream) if self._log_file is None else self._log_file.observe(make)
            parent.setComponent(ILogObserver, observer)

    def startService(self) -> None:
        """
        Open everything; the public listener comes last.

        Not at once: the parent process of C{twistd} waits for the child's report, and would wait forever if it ended here.
        """
        super().startService()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._fail)

    def stopService(self) -> Deferred[None]:
        """Answer what was taken, end all connections, then close the store: within L{STOP_TIME} seconds."""
        super().stopService()
        if self._starting is not None:
            self._starting.cancel()
        self._end_at_signal()
        return self._close().addTimeout(STOP_TIME, self._reactor).addErrback(self._give_up)

    def _give_up(self, failure: Failure) -> None:
        """The files could not be closed in time. Nothing that was answered is lost."""
        failure.trap(DeferredTimeout)
        self._log.error("the daemon ends without closing its files, which took more than {limit} s", limit=STOP_TIME)
        self._end(failure)

    def _close(self) -> Deferred[None]:
        """
        Close everything, once.

        @return: fires when that is done.
        """
        if self._closing is None:
            self._closing = Deferred.fromCoroutine(self._stop())
        waiter: Deferred[None] = Deferred()
        self._closing.addBoth(waiter.callback)
        return waiter

    async def _start(self) -> None:
        """
        Open one thing after another.

        @raise StateError: or anything else: the daemon cannot start.
        """
        await deferLater(self._reactor, 0)
        setup, state = self._setup, self._state
        os.umask(0o077)
        open_folder(state)
        self._lock.take()
        check_whole(state)
        self._audit.open()
        udp_port = UdpPort(setup) if setup.udp_port or setup.udp_descriptor else None
        udp_number = 0 if udp_port is None else udp_port.number
        limit = self._limit_connections(connection_limit(setup.max_clients))
        if setup.certificate is not None and setup.key is not None:
            credentials = load_credentials(setup.certificate, setup.key, keys.spki_digest)
            self._issued = IssuedPair(credentials, keys.spki_digest, time.time)
        else:
            names = list(dict.fromkeys((*OWN_NAMES, setup.advertise[0])))
            self._own = OwnPair(state, names, keys.tls_key_pair, keys.spki_digest, time.time)
            credentials = self._own.credentials
        stores = open_server_store(
            state / DATABASE,
            reactor=self._reactor,
            fatal=self._lose_store,
            on_disk_full=self._disk_full_changed,
            counters=self._monitor.writer,
        )
        self._stores = stores
        self._high_water = HighWaterMark(state, self._reactor, stores)
        self._high_water.start()
        key = self._open_key_file()
        identity = keys.SigningKey(keep_key(state / SERVER_KEY, lambda: keys.SigningKey.generate().private, KEY_SIZE))
        turn = Turn(self._reactor)
        host, port = setup.advertise
        settings = Settings(
            host=host, port=port, udp_port=udp_number, registration=setup.registration, max_clients=setup.max_clients,
            users_invite=setup.users_invite, user_invite_uses=setup.user_invite_uses, user_open_invites=setup.user_open_invites,
            user_invite_depth=setup.user_invite_depth, **limit_settings(setup, limit),
        )  # fmt: skip
        # The server learns how guests log in, and gets no key that decrypts their messages.
        known = None if key is None else KeyFile(key.name, key.login)
        self._core = core = Server(
            stores=stores,
            settings=settings,
            identity=identity,
            now=time.time,
            seconds=self._reactor.seconds,
            soon=turn.later,
            later=self._reactor.callLater,
            spawn=spawn,
            free_space=partial(free_space, state),
            key_file=known,
            log_account=self._log_account,
            audit=self._note_action,
            log_refusal=self._log_refusal,
            log_peers=self._log_peers if setup.log_peers else None,
            set_log_level=self._set_log_level,
            counters=self._monitor.server,
            rotate_key=self._rotate_key,
            certificate_expires_at=lambda: credentials.expires_at,
        )
        self._minutes.start(MINUTE, now=False).addErrback(self._fail)
        self._open_control(core, turn)
        link = InviteLink(host, port, identity.public, udp_port=udp_number)
        await self._open_contact(core, turn, link, key)
        await self._write_first_invite(stores, link)
        public = ConnectionOptions(
            Side.SERVER,
            core.connect,
            credentials.observe,
            self._reactor,
            turn,
            on_hangup=self._hangups.count,
            idle_time=IDLE_TIME,
            counters=self._monitor.transports["tcp"],
        )
        self._public = PublicFactory(public, limit, core.addresses)
        if udp_port is not None:
            self._public.others = self._udp_count
            count = partial(len, self._public.open)
            options = evolve(public, counters=self._monitor.transports["udp"])
            self._udp = udp = udp_port.listen(self._reactor, state, credentials, options, limit, core.addresses, count)
            self._renew_udp = lambda: udp.renew(*quic_options(credentials, options))
        if setup.metrics is not None:
            self._open_metrics(setup.metrics, core, stores, credentials)
        opened = await listen_public(
            self._reactor, turn, setup.host, setup.port, credentials, self._public, setup.tls == "stock", setup.descriptor
        )
        self._ports.append(opened)
        relax_collector()
        self._log.info(
            "securemsg listens on {address}{udp}, with TLS 1.3; invites name {advertised};"
            " server fingerprint {fingerprint}",
            address=host_port(setup.host, setup.port),
            udp=f" and UDP port {udp_number}" if udp_number else "",
            advertised=host_port(host, port),
            fingerprint=keys.fingerprint(identity.public),
        )
        self._supervisor.ready(self._status())
        if self._supervisor.watchdog:
            self._watchdog.start(self._supervisor.watchdog).addErrback(self._fail)

    def _status(self) -> str:
        """For people who ask the service manager."""
        return f"{self._count_open()} connections"

    def _ping_watchdog(self) -> None:
        """Say that we are alive, once the database has answered. Nothing is said if the reactor or the database hangs."""
        if self._monitor.is_disk_full:
            # The writer tries again and again, and nothing else can be done: a restart would only fail.
            self._supervisor.alive()
        elif self._stores is not None:
            self._stores.high_water().addCallbacks(lambda _: self._supervisor.alive(), lambda failure: None)

    def reload(self) -> None:
        """
        Read the configuration and the certificate again, as a signal asks for. With any mistake in the configuration nothing
        changes.
        """
        if self._public is None or self._reread is None or not self.running:
            return
        self._supervisor.reloading()
        try:
            self._reload(self._reread)
        except Exception:  # noqa: BLE001 - a bug: the log has it, and the service manager waits for the end of the reload
            self._log.failure("the options could not be read again")
        self._supervisor.ready(self._status())

    def _reload(self, reread: Callable[[], Setup]) -> None:
        try:
            fresh = reread()
        except UsageError as error:
            self._log.error("the configuration was not read again, and nothing has changed: {problem}", problem=str(error))
            return
        others = {name for name, value in asdict(fresh, recurse=False).items() if value != getattr(self._setup, name)}
        others = {_OPTIONS.get(each, each).replace("_", "-") for each in others - {"certificate", "key"}}
        if (fresh.certificate is None) is not (self._issued is None):
            others.add("cert")
        elif self._issued is not None and fresh.certificate is not None and fresh.key is not None:
            self._reload_certificate(partial(self._issued.reload, fresh.certificate, fresh.key))
        if others:
            self._log.warn("these options have changed and need a restart: {names}", names=", ".join(sorted(others)))
        else:
            self._log.info("the options were read again")

    def _reload_certificate(self, look: Callable[[], bool]) -> None:
        if look():
            self._renew_udp()

    async def _stop(self) -> None:
        """Close everything in reverse order."""
        self._supervisor.stopping()
        if self._watchdog.running:
            self._watchdog.stop()
        await DeferredList([maybeDeferred(port.stopListening) for port in self._ports])
        if self._minutes.running:
            self._minutes.stop()
        core = self._core
        if core is not None:
            core.wind_up()
            if not await self._until(lambda: core.is_settled, SETTLE_TIME):
                self._log.warn("not everything could be committed and answered; clients send what was not answered again")
            core.stop()
        self._monitor.stop()
        if self._contact is not None:
            await self._contact.stop()
        # The last messages go out; peers that do not read them are cut off.
        await self._until(lambda: not self._count_open(), CLOSING_TIME + 1)
        if self._udp is not None:
            await self._udp.stop()
        if self._high_water is not None:
            await self._high_water.stop()
        self._hangups.report()
        self._audit.close()
        self._lock.release()
        self._log.info("securemsg stopped")

    async def _until(self, condition: Callable[[], bool], limit: float) -> bool:
        """
        Wait for a condition.

        @return: whether it came true in time.
        """
        deadline = self._reactor.seconds() + limit
        while not condition():
            if self._reactor.seconds() >= deadline:
                return False
            await deferLater(self._reactor, LOOK)
        return True

    def _limit_connections(self, wanted: int) -> int:
        """
        How many connections may be open with the files that this process may open.

        @raise StateError: too few.
        """
        files = raise_file_limit(wanted + SPARE_FILES)
        limit = min(wanted, max(files - SPARE_FILES, files // 2))
        if limit < MIN_CONNECTIONS:
            raise StateError(f"this process may open only {files} files; raise the limit: ulimit -n {wanted + SPARE_FILES}")
        if limit < wanted:
            self._log.warn(
                "only {limit} of {wanted} connections can be open: this process may open {files} files; raise the limit"
                " (ulimit -n, LimitNOFILE=), or lower --max-clients",
                limit=limit,
                wanted=wanted,
                files=files,
            )
        return limit

    def _udp_count(self) -> int:
        """The number of open connections over UDP."""
        return 0 if self._udp is None else len(self._udp)

    def _count_open(self) -> int:
        """The number of open connections from the network."""
        return (0 if self._public is None else len(self._public.open)) + self._udp_count()

    def _count_turned_away(self) -> int:
        """The number of connections that were closed for want of room."""
        tcp = 0 if self._public is None else self._public.turned_away
        return tcp + (0 if self._udp is None else self._udp.turned_away)

    def _open_control(self, core: Server, turn: Turn) -> None:
        options = ConnectionOptions(
            Side.SERVER, lambda: core.connect(operator=True), observe_operator, self._reactor, turn, handshake=False
        )
        self._ports.append(listen_control(self._reactor, self._state / SOCKET, options))

    def _open_metrics(
        self, where: Path | tuple[str, int] | int, core: Server, stores: ServerStore, credentials: ServerCredentials
    ) -> None:
        """Say how the daemon is, to whoever asks there."""
        # An extra, and libraries that nobody else waits for.
        from securemsg.daemon.site import listen_site

        self._monitor.logged_in = lambda: core.logged_in
        self._monitor.turned_away = self._count_turned_away
        self._monitor.has_room = core.disk.has_room
        self._monitor.free_space = core.free_space
        self._monitor.is_draining = lambda: core.is_draining
        self._monitor.expires_at = lambda: credentials.expires_at
        if (issued := self._issued) is not None:
            self._monitor.refused_certificates = lambda: issued.refused
        self._ports.append(listen_site(self._reactor, where, self._monitor))
        self._monitor.start(stores)
        address = address_of(where) if isinstance(where, int) else where
        name = f"unix:{address}" if isinstance(address, Path) else f"http://{host_port(*address)}/"
        self._log.info("metrics and a status page are at {name}", name=name)

    def _open_key_file(self) -> SharedKey | None:
        """
        Read the key file, or make it; C{None}: no guests.

        @raise KeyFileError: it cannot be used or made.
        """
        path = self._setup.key_file
        if path is None:
            return None
        try:
            return SharedKey(read_key_file(path, self._setup.loose))
        except KeyFileMissing:
            key = SharedKey.generate()
            make_key_file(path, key.secret)
            self._log.info("created the key file {path}; guests who use it appear as {name}", path=str(path), name=key.name)
            return key

    async def _open_contact(self, core: Server, turn: Turn, link: InviteLink, key: SharedKey | None) -> None:
        """
        Open the contact C{server}, which everybody who joins can write to.

        @raise StateError: it cannot log in.
        """
        setup = self._setup
        record = None if setup.record is None else LineFile(setup.record, setup.record_size)
        options = ContactOptions(partial(self._answers, self._reactor), record, setup.prints, key, setup.lobby)
        make = partial(open_contact, link, options, self._reactor.seconds)
        self._contact = HostedContact(self._reactor, turn, core.connect, self._state / CONTACT, make)
        await self._contact.start()
        if setup.lobby:
            self._log.info("{room} is open to everybody with an account; the contact server reads it", room=LOBBY_NAME)
        core.reply = self._contact.reply
        assert self._stores is not None, "it is opened first"
        core.take_snapshot = Snapshots(self._state, self._reactor, self._stores, self._contact).take

    async def _write_first_invite(self, stores: ServerStore, link: InviteLink) -> None:
        """Write an invite for the first user, where there is no account yet."""
        accounts = [row.name for row in await stores.list_accounts("", 2)]
        if self._setup.registration == "closed" or any(name != SERVER_NAME for name in accounts):
            return
        server = await stores.load_account(SERVER_NAME)
        token = b""
        if self._setup.registration == "invite":
            token = keys.random_bytes(TOKEN_SIZE)
            await stores.add_token(keys.sha256(token), 1, int(time.time()) + FIRST_INVITE_LIFETIME, "", 0)
        invite = evolve(link, token=token, contact=server.identity if server is not None else b"")
        path = self._state / FIRST_INVITE
        write_private(path, f"{invite}\n".encode())
        self._log.info("an invite for the first user is in {path}", path=str(path))
        # It must not stay in a log; a terminal does not keep it.
        if os.isatty(2):
            os.write(2, f"\nInvite for the first user, valid for 7 days:\n\n  {invite}\n\n".encode())

    def _log_account(self, event: str, name: str) -> None:
        """Log what has become of an account."""
        self._log.info("account {name} was {event}", name=name, event=event, log_each=True)

    def _log_refusal(self, what: str, name: str, code: str) -> None:
        """Log that something was refused, and to whom."""
        self._log.info("a {what} of {name} was refused: {code}", what=what, name=name or "nobody", code=code, event="refused")

    def _log_peers(self, sender: str, recipients: Sequence[str], size: int) -> None:
        """Log who writes to whom: every message, because none is like another."""
        self._log.info(
            "{sender} sends {size} bytes to {recipients}",
            sender=sender,
            size=size,
            recipients=", ".join(recipients),
            event="sent",
            log_each=True,
        )

    def _note_action(self, user: int, action: str, subject: str, result: str) -> None:
        """Write what the operator did into the audit log. It is done already: a disk that is full does not undo it."""
        record = {"time": iso(time.time()), "uid": user, "action": action, "subject": subject, "result": result}
        try:
            self._audit.append([json.dumps(record).encode()])
        except StorageError as error:
            self._log.error("the audit log lacks {action} {subject}: {problem}", action=action, subject=subject, problem=error)

    def _set_log_level(self, level: str) -> None:
        """
        Log from this level on.

        @raise Refusal: C{forbidden}: another logger writes the log.
        """
        if self._logging is None:
            raise Refusal("forbidden")
        self._logging.set_level(level)

    def _rotate_key(self) -> None:
        """
        Make our own TLS key anew.

        @raise Refusal: C{forbidden}: it is not our own; C{retry-later}: it cannot be written.
        """
        if self._own is None:
            raise Refusal("forbidden")
        try:
            self._own.rotate()
        except StateError as error:
            self._log.error("the TLS key was not made anew: {problem}", problem=str(error))
            raise Refusal("retry-later") from None
        self._renew_udp()

    def _tick(self) -> None:
        """Do what is due; called every minute."""
        assert self._core is not None, "it starts once everything is open"
        try:
            self._core.tick()
            self._supervisor.status(self._status())
            self._hangups.report()
            pair = self._issued or self._own
            if pair is not None:
                self._reload_certificate(pair.look)
            if self._issued is not None:
                self._issued.warn()
            if self._logging is not None:
                self._logging.report(time.time())
            if self._contact is not None:
                # A guest who connects while this is on its way has just been active, and stays.
                self._contact.forget_gone(self._core.guests)
        except Exception:  # noqa: BLE001 - logged in full, and tried again in a minute
            self._log.failure("the periodic work failed; it is tried again in a minute")

    def _disk_full_changed(self, is_full: bool) -> None:
        """
        The disk has become full, or has room again. Until it has, the store answers nothing. A connection leaves at most one
        request in its queue, so new ones are refused.
        """
        path = str(self._state / DATABASE)
        self._monitor.is_disk_full = is_full
        if is_full:
            self._log.error(
                "the disk is full ({free} bytes are free): {path} cannot be written, and nothing is answered until it can be;"
                " free some space, no restart is needed",
                path=path,
                free=free_space(self._state),
            )
        else:
            self._log.info("the disk has room again: {path} was written", path=path)
        if self._core is not None:
            self._core.refuse_connections("retry-later" if is_full else "")

    def _lose_store(self, failure: Failure) -> None:
        """End the daemon: the store is not reliable any more. An error of the disk is not a bug, and gets its own line."""
        self._monitor.is_lost = True
        if failure.type is not None and f"{failure.type.__module__}.{failure.type.__name__}" in DISK_ERRORS:
            path = self._state / DATABASE
            failure = Failure(
                StateError(
                    f"{path} cannot be written or read: {failure.getErrorMessage()}; nothing that was accepted is lost:"
                    " check the disk, then start again"
                )
            )
        self._fail(failure, closes=False)

    def _fail(self, failure: Failure, closes: bool = True) -> None:
        """
        Log one line, and end. An unexpected error is logged in full before.

        @param closes: whether the files can still be closed in order.
        """
        if self._ending or (failure.check(CancelledError) is not None and not self.running):
            return
        self._ending = True
        if failure.check(*EXPECTED) is None:
            self._log.failure("an unexpected error ends the daemon", failure)
        self._log.critical("securemsg ends: {problem}", problem=failure.getErrorMessage())
        if not closes:
            self._end(None)
            return
        # Closed files leave no journal behind, which would spoil a restored backup.
        self._close().addTimeout(LAST_TIME, self._reactor).addBoth(self._end)

    def _end(self, result: object) -> None:
        """End the process; a failure to close the files is logged."""
        if isinstance(result, Failure):
            self._log.info("the files could not be closed: {problem}", problem=result.getErrorMessage())
        if self._contact is not None:
            self._contact.stop_answering()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self._leave(1)
