"""
What a room costs: its members' clients, who seal each message for every one of them, and the daemon, which delivers as many
copies.

The clients are measured in memory, with sessions that have begun long ago; the daemon with load on Twisted that encrypts
nothing.
"""

from __future__ import annotations

import os
import statistics
import time
from functools import partial

from attrs import define
from twisted.internet.interfaces import IReactorTime

from bench.devices import Daemon, over_tcp
from bench.flows import Everybody, Flow, percentile
from bench.garbage import MICRO, NOW, Client
from bench.parts import MILLI, WINDOWS, Bench
from bench.report import Figure, figure
from bench.served import Served
from bench.sizes import PARTS
from securemsg.client import messages
from securemsg.client.receiving import inbox
from securemsg.client.rooms import adopting, lists, store
from securemsg.client.rooms.lists import RoomList
from securemsg.client.rooms.store import Room, RoomState
from securemsg.client.sending import outbox, results
from securemsg.client.sessions import pqxdh, prekeys
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, load_all
from securemsg.crypto.keys import SigningKey, random_bytes, sha256
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import Bundle, Deliver, Deposit, PrekeyStock, RoomItem, RoomStep, encode_message
from securemsg.storage.memory import MemoryProfile

SIZES = (3, 10, 50)
TEXT = "x" * 200
MESSAGES = 20
ALIAS = "bench"


@define
class Members:
    """
    A writer and the other members of a room, all in memory.

    @ivar sent: bytes of the last deposit; C{delivered}: of one of its deliveries.
    """

    writer: Client
    readers: list[Client]
    sent: int = 0
    delivered: int = 0

    @classmethod
    def make(cls, count: int) -> Members:
        """A room of so many, who have heard of each other."""
        link = InviteLink("example.net", 8443, SigningKey.generate().public, b"")
        writer, *readers = [Client.make(f"member{number}", link, MemoryProfile()) for number in range(count)]
        with writer.store.writing() as records:
            upload = prekeys.replenish(records, writer.profile, PrekeyStock(0, 0, 0, 0), NOW)
        assert upload is not None and upload.signed is not None and upload.last_resort is not None
        bundle = Bundle(0, upload.signed, upload.last_resort, True, None)
        # Whoever reads has begun the session, and the writer has answered, as after some talk.
        first = lists.first(writer.profile, random_bytes(16), "Bench", NOW)
        newcomers = [(reader.profile.name, reader.profile.identity.public) for reader in readers]
        listing = lists.make_next(writer.profile, first, "added", NOW, members=lists.added(first.body, newcomers))
        room = cls(writer, readers)
        for reader in readers:
            contact = reader.meet(writer)
            writer.meet(reader)
            with reader.store.writing() as records:
                pqxdh.begin(records, reader.profile, contact, writer.profile.device_id, bundle, NOW)
            messages.compose(reader.store, writer.profile.name, "hello", now=NOW)
            [deposit] = deposits(reader)
            receive(writer, reader, deposit)
            messages.compose(writer.store, reader.profile.name, "hello", now=NOW)
            [deposit] = deposits(writer)
            receive(reader, writer, deposit)
            room.join(reader, listing)
        room.join(writer, listing)
        return room

    def join(self, client: Client, listing: RoomList) -> None:
        """Somebody goes by a list."""
        with client.store.writing() as records:
            room = store.name_room(records, Room(listing.body.room, "", "", RoomState.ASKED), ALIAS)
            adopting.adopt(records, client.profile, room, listing, NOW)

    def talk(self) -> tuple[float, float]:
        """
        The writer says something, and one other member reads it.

        @return: the processor time of either, seconds.
        """
        began = time.process_time()
        messages.compose(self.writer.store, f"#{ALIAS}", TEXT, now=NOW)
        [deposit] = deposits(self.writer)
        written = time.process_time() - began
        self.sent = len(encode_message(deposit))
        began = time.process_time()
        self.delivered = receive(self.readers[0], self.writer, deposit)
        return written, time.process_time() - began


def deposits(client: Client) -> list[Deposit]:
    """What a client has to send, as if the server accepted it at once."""
    with client.store.writing() as records:
        seqs = [seq for seq, _ in load_all(records, OutboxRow, OUTBOX, ROWS)]
        made = [outbox.prepare(records, client.profile, seq, NOW) for seq in seqs]
        for seq in seqs:
            results.accepted(records, client.profile, seq, 1, NOW, [], NOW)
    return [deposit for deposit in made if deposit is not None]


def receive(reader: Client, writer: Client, deposit: Deposit) -> int:
    """
    Take in what somebody has written.

    @return: the bytes of the delivery.
    """
    own = next(part.own for to in deposit.to for part in to.parts if part.device == reader.profile.device_id)
    author = writer.profile
    delivery = Deliver(1, author.name, author.device_id, deposit.deposit_id, NOW, deposit.common, own, deposit.room)
    with reader.store.writing() as records:
        inbox.receive(records, reader.profile, delivery, NOW)
    return len(encode_message(delivery))


def measure_clients(rounds: int) -> list[Figure]:
    """What one message costs whoever writes and whoever reads it, and on the wire."""
    figures = []
    for size in SIZES:
        members = Members.make(size)
        members.talk()
        spent = [[members.talk() for _ in range(MESSAGES)] for _ in range(rounds)]
        for number, (key, verb) in enumerate((("write", "write to"), ("read", "read one of"))):
            cost = [statistics.median(pair[number] for pair in each) * MICRO for each in spent]
            figures.append(Figure(f"room_{key}_{size}", f"client CPU to {verb} a room of {size}", "us", {"daemon": cost}))
        for key, words, count in (("sent", "writer sends to", members.sent), ("got", "reader gets of", members.delivered)):
            figures.append(figure(f"room_{key}_{size}", f"bytes that a {words} a room of {size}, 200 of text", "B", count))
    return figures


@define
class Rooms:
    """The daemon with a room of fifty that talks."""

    _bench: Bench
    _reactor: IReactorTime

    async def measure(self, served: Served) -> list[Figure]:
        """What a copy costs, how many go a second, and when the last of all has one."""
        size, bench = SIZES[-1], self._bench
        target = Daemon(served, partial(over_tcp, self._reactor), bench.waiting)
        figures = []
        for window in WINDOWS:
            flow = await self._flow(target, size)
            flow.window = window
            flow.refill()
            sample = await bench.sample(target, [flow])
            await bench.settle([flow])
            await target.hang_up()
            copies = size - 1
            bench.say(f"{target.name}: a room of {size}, {window} in flight: {sample.rate:,.0f} messages a second")
            cost, rate = sample.cost / copies, sample.rate * copies
            where = f"in a room of {size}, {window} in flight"
            figures.append(figure(f"room_copy_{window}", f"server CPU a delivered copy {where}", "us", cost))
            figures.append(figure(f"room_copies_{window}", f"copies a second {where}", "1/s", rate))
            if window == 1:
                last = percentile(sample.delays, 0.5) * MILLI
                figures.append(figure("room_last", f"until the last of {size} has a message", "ms", last))
        return figures

    async def _flow(self, target: Daemon, size: int) -> Flow:
        """Connect the members, and have the first make their room, and then write to the others."""
        writer, *readers = await target.connect(size)
        proof = os.urandom(32)
        room, digest = os.urandom(16), os.urandom(32)
        writer.parts = PARTS["text"]
        writer.flow = flow = Flow(writer.submit, self._reactor.seconds)
        everybody = Everybody(flow, len(readers))
        writer.room = RoomItem(room, 1, digest, RoomStep(proof, sha256(proof)))
        writer.submit(1)
        await self._bench.waiting.until(lambda: flow.accepted == 1, "a room")
        writer.room = RoomItem(room, 1, digest, None)
        writer.members = [reader.credentials for reader in readers]
        for reader in readers:
            reader.source = everybody
        flow.accepted = 0
        return flow


