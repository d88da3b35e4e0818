"""
C{securemsg join}: from an invite to an account. Safe to repeat: keys are made once, and the registration is finished then.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve, field, frozen

from securemsg.account.address import ServerAddress
from securemsg.account.errors import Exit, SecuremsgError, error_for, explain
from securemsg.account.folder import check_whole, storage_error
from securemsg.account.newcomer import dial_server, fetch_invite
from securemsg.cli.context import CommandContext
from securemsg.cli.guest import DEFAULT_PORT
from securemsg.cli.invites import MAX_TEXT, find_invite
from securemsg.cli.output import say, write_record
from securemsg.cli.passphrases import ask_new_passphrase, given_passphrase
from securemsg.cli.profiles import open_vault, opened
from securemsg.cli.run import run
from securemsg.cli.settings import NAME, Settings, json_option, rsa_bits_option, settings_of, shared
from securemsg.cli.words import looks_short, read_words
from securemsg.client.state import integrity, vault
from securemsg.client.state.contacts import TABLE as CONTACTS
from securemsg.client.state.invites import is_proof_waiting, trust_inviter, write_proof
from securemsg.client.state.lists import LISTS
from securemsg.client.state.profile import TABLE as PROFILE
from securemsg.client.state.profile import Profile, create_profile, load_profile, save_profile
from securemsg.client.state.records import OUTBOX
from securemsg.client.state.rsakeys import load_rsa_key, save_rsa_key
from securemsg.client.state.vault import VaultError
from securemsg.crypto.keys import fingerprint, is_ed25519_key
from securemsg.crypto.rsa import DEFAULT_BITS, RsaKey
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore, IRecords
from securemsg.protocol.devices import is_reserved
from securemsg.protocol.hosts import parse_host_port
from securemsg.protocol.invite import InviteLink
from securemsg.storage.errors import StorageError
from securemsg.storage.profile import PROFILE_FILE, open_profile
from securemsg.storage.profile import create_profile as create_store

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection

# Codes that say that words are good for nothing any more.
USED_UP = ("no-such-code", "wrong-words", "no-answer")
# Codes that refuse the name for good.
ABOUT_NAME = ("name-taken", "reserved-name", "illegal-name")


@frozen
class _ShortInvite:
    """A short invite, and the server that knows its number."""

    server: ServerAddress
    number: int
    words: str = field(repr=False)


def _arguments(ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, str, str]:
    """The invite or the host, the words after it if there are any, and the name."""
    if len(given) < 2 or (len(given) == 2 and looks_short(given[1])):
        raise click.UsageError("give INVITE NAME, or HOST[:PORT] NUMBER-WORDS NAME", ctx)
    where, *words, name = given
    return where, " ".join(words), NAME.convert(name, parameter, ctx)


@click.command()
@click.argument("invite", nargs=-1, callback=_arguments, metavar="INVITE NAME | HOST[:PORT] NUMBER-WORDS NAME")
@click.option("--rsa", "wants_rsa", is_flag=True, help="Make an RSA key as well, so that contacts can use suite rsa.")
@rsa_bits_option
@click.option("--no-passphrase", is_flag=True, help="Do not ask for a passphrase at the terminal; use none.")
@json_option("Print a JSON object.")
@shared
@click.pass_context
def join(ctx: click.Context, invite: tuple[str, str, str], wants_rsa: bool, no_passphrase: bool) -> int:
    """
    Create keys, pin the server, and register NAME with INVITE; `-` reads the invite from standard input.

    With a short invite, give the server's HOST and the number and six words: join chat.example.org 7-acid-bench-... bob.
    They work once, for 10 minutes, while the inviter stays connected.

    Other users of this machine can see arguments, so `-` is the private way, also for the words. If joining is interrupted,
    run it again. At a terminal it asks for a passphrase that protects the keys.
    """
    settings = settings_of(ctx)
    where, words, name = invite
    if is_reserved(name):
        raise error_for("reserved-name", name)
    source = _short_invite(settings, where, words) if words else _long_invite(where)
    bits = settings.rsa_bits or DEFAULT_BITS if wants_rsa or settings.rsa_bits else 0
    # Before the reactor runs: this may ask for a passphrase.
    make_key = choose_key(settings, protect=not no_passphrase)
    begun: list[CommandContext] = []
    with contextlib.ExitStack() as stack:

        def begin(link: InviteLink) -> CommandContext:
            key = prepare(settings, link, name, bits, make_key)
            begun.append(stack.enter_context(opened(settings, joined=False, key=key)))
            return begun[0]

        def resume() -> CommandContext:
            begun.append(stack.enter_context(opened(settings, joined=False, key=make_key())))
            return begun[0]

        known = None if isinstance(source, InviteLink) else _begun(settings, name, make_key)
        if isinstance(source, InviteLink):
            status = _join_with(begin(source))
        elif known is not None and known.registered:
            # It has joined; the words stay good for somebody else.
            status = _join_with(resume())
        else:
            status = _join_by_words(settings, source, begin, resume if known is not None else None)
        if status != Exit.DONE:
            return status
        context = begun[0]
        profile = context.profile
        record: dict[str, object] = {
            "name": profile.name,
            "server": context.where,
            "fingerprint": fingerprint(profile.identity.public),
            "profile": str(context.folder),
            "keys_protected": context.protection,
        }
        as_json = context.settings.as_json
        write_record(record, as_json, f"{profile.name} joined {context.where}, fingerprint {record['fingerprint']}")
        if not as_json:
            is_open = vault.protection(settings.folder) == vault.KEY_IN_FILE
            advice = " To set a passphrase: securemsg passphrase" if is_open else ""
            say(f"Your keys are in {context.folder}, protected {context.protection}.{advice}")
    return Exit.DONE


def _long_invite(text: str) -> InviteLink:
    """
    The invite in an argument, or on standard input.

    @raise SecuremsgError: C{bad-invite}.
    """
    try:
        return _checked(find_invite(_given(text)))
    except (Refusal, UnicodeDecodeError):
        raise error_for("bad-invite") from None


def _checked(link: InviteLink) -> InviteLink:
    """
    The same invite, if its keys are valid.

    @raise SecuremsgError: C{bad-invite}.
    """
    if not all(map(is_ed25519_key, filter(None, (link.pin, link.contact, link.inviter_identity)))):
        raise error_for("bad-invite")
    return link


def _short_invite(settings: Settings, where: str, text: str) -> _ShortInvite:
    """
    The short invite in the arguments, or its words on standard input.

    @raise SecuremsgError: C{bad-invite}.
    """
    try:
        host, port = parse_host_port(where, settings.port or DEFAULT_PORT)
        words = _given(text)
    except ValueError:
        raise error_for("bad-invite", text="neither an invite nor HOST[:PORT] and a short invite") from None
    return _ShortInvite(ServerAddress(host, port, post_quantum=settings.require_pq), *read_words(words))


def _given(text: str) -> str:
    """The argument, or what comes from standard input in its place."""
    if text != "-":
        return text
    return sys.stdin.read(MAX_TEXT + 1) if sys.stdin else ""


def _begun(settings: Settings, name: str, make_key: Callable[[], vault.Vault]) -> Profile | None:
    """
    The profile that is in the folder already: words are used up when they are sent, so this is looked at before.

    @raise SecuremsgError: C{other-name}, or it cannot be opened.
    """
    if not all(os.path.lexists(settings.folder / each) for each in (vault.KEY_FILE, PROFILE_FILE)):
        return None
    try:
        store = open_profile(settings.folder, make_key())
        with contextlib.closing(store), store.reading() as records:
            known = load_profile(records)
    except (VaultError, StorageError) as error:
        raise storage_error(error) from error
    if known is not None and known.name != name:
        raise error_for("other-name", known.name)
    return known


def _join_with(context: CommandContext) -> int:
    """Register, unless that is done."""
    with context.store.reading() as records:
        is_done = context.profile.registered and not is_proof_waiting(records)
    return Exit.DONE if is_done else context.run_connected(_registering(context))


def _join_by_words(
    settings: Settings,
    short: _ShortInvite,
    begin: Callable[[InviteLink], CommandContext],
    resume: Callable[[], CommandContext] | None = None,
) -> int:
    """
    Register with what a short invite stands for.

    @param resume: goes on with a join that was interrupted, where the words are used up; C{None}: there is none.
    """
    server = short.server

    async def work(reactor: Any) -> int:
        try:
            found = await fetch_invite(
                reactor, dial_server(reactor, server), short.number, short.words, str(server), settings.timeout
            )
        except SecuremsgError as problem:
            if resume is None or problem.code not in USED_UP:
                raise
            context = resume()
            return await context.connected(reactor, _registering(context))
        # This address works here; the inviter's may be another.
        link = _checked(evolve(found, host=server.host, port=server.port))
        try:
            context = begin(link)
            return await context.connected(reactor, _registering(context))
        except Exception:
            # The words are used up; the invite is not.
            write_record({"invite": str(link)}, settings.as_json, str(link))
            if not settings.as_json:
                say("The words are used up, but the invite above, which they stood for, is still valid: join with it.")
            raise

    return run(work, debug=settings.debug, as_json=settings.as_json)


def prepare(
    settings: Settings,
    link: InviteLink,
    name: str,
    rsa_bits: int = 0,
    make_key: Callable[[], vault.Vault] | None = None,
) -> vault.Vault:
    """
    Make the profile, or see that the one in the folder is the one that was begun with this name and server.

    @param rsa_bits: of the RSA key of this device; 0: make none.
    @param make_key: see L{choose_key}.
    @return: its store key.
    @raise SecuremsgError: C{other-name}, C{other-server}, or the folder cannot be used.
    """
    make_key = make_key or choose_key(settings)
    try:
        key = make_key()
        store = create_store(settings.folder, key)
    except (VaultError, StorageError) as error:
        raise storage_error(error) from error
    try:
        rsa_key = RsaKey.generate(rsa_bits) if rsa_bits else None
        _save(store, link, name, settings.transport, rsa_key)
    finally:
        store.close()
    settings.folder.chmod(0o700)
    return key


def _save(store: IProfileStore, link: InviteLink, name: str, transport: str | None, rsa_key: RsaKey | None) -> None:
    """One transaction: either the whole profile is there, or nothing. The transport is kept if one is named."""
    now = int(time.time())
    try:
        with store.writing() as records:
            known = load_profile(records)
            if known is not None and not known.registered and known.pin != link.pin:
                # We never registered with that server, and this invite is for another one: drop everything.
                _forget(records)
                known = None
            if rsa_key is not None:
                # One that is there stays; the owner of the connection signs it into a list that lacks it.
                save_rsa_key(records, rsa_key)
            if known is None:
                kept = load_rsa_key(records)
                profile = create_profile(link, name, now, None if kept is None else kept.public)
            else:
                profile = _resumed(known, link, name)
            if transport is not None:
                profile = evolve(profile, transport=transport)
            save_profile(records, profile)
            trust_inviter(records, profile, link, now)
            write_proof(records, profile, link, now)
    except Refusal as refusal:
        raise explain(refusal, name) from None


def _forget(records: IRecords) -> None:
    """Drop what a failed join has written: the profile with its list, and the contacts of its invite with the proof for one."""
    for table in (PROFILE, LISTS, CONTACTS, OUTBOX, integrity.TABLE):
        for bucket, order, _ in records.scan(table):
            records.delete(table, bucket, order)


def _resumed(known: Profile, link: InviteLink, name: str) -> Profile:
    """
    The profile that is there, with what the invite says now: it may be a newer one.

    @raise SecuremsgError: it is somebody else's.
    """
    if known.name != name:
        raise error_for("other-name", known.name)
    if known.pin != link.pin:
        raise error_for("other-server")
    if known.registered:
        return known
    contact = link.contact or known.contact
    return evolve(known, host=link.host, port=link.port, udp_port=link.udp_port, token=link.token, contact=contact)


def choose_key(settings: Settings, *, protect: bool = True) -> Callable[[], vault.Vault]:
    """
    The store key: a new one, or the one of the join that is repeated. What is to be asked is asked now.

    @param protect: ask for a passphrase if there is none, and there is a terminal.
    @return: gives the key, and writes it if it is new.
    @raise SecuremsgError: it cannot be opened, or the folder cannot be used; also where a passphrase is given, and the key that
        is there has none.
    """
    folder = settings.folder
    try:
        check_whole(folder, joining=True)
        if os.path.lexists(folder / vault.KEY_FILE):
            key = open_vault(settings)
            return lambda: key
    except (VaultError, StorageError) as error:
        raise storage_error(error) from error
    passphrase = given_passphrase(settings)
    if passphrase is not None and not protect:
        raise click.UsageError("a passphrase is given, and --no-passphrase, too", click.get_current_context(silent=True))
    if passphrase is None and protect and sys.stdin.isatty() and sys.stderr.isatty():
        say("A passphrase protects your keys and messages on this machine. Leave it empty for none:")
        say("then anyone who can read your files can read everything.")
        passphrase = ask_new_passphrase(str(folder)) or None

    def make() -> vault.Vault:
        try:
            return vault.create_vault(folder, passphrase)
        except vault.VaultExists:  # another join was faster
            return vault.open_vault(folder, passphrase)

    return make


def _registering(context: CommandContext) -> Any:
    """Wait until the agent has registered us."""

    def registered() -> bool | None:
        with context.store.reading() as records:
            profile = load_profile(records)
        return True if profile is not None and profile.registered else None

    async def register(reactor: Any, connection: AccountConnection) -> int:
        try:
            done = await connection.until(registered, context.settings.time_limit)
        except SecuremsgError as problem:
            if problem.code not in ABOUT_NAME:
                raise
            _start_over(context.store)
            raise error_for(problem.code, context.profile.name) from None
        if done is None:
            raise error_for(connection.last_failure or "timeout", connection.where)
        # Answers come in order: with this one the server has our prekeys, too, so that others can write to us.
        await connection.ask("ping", timeout=context.settings.time_limit)
        return Exit.DONE

    return register


def _start_over(store: IProfileStore) -> None:
    """
    The name was refused, so nothing was registered with these keys: allow another name in the same folder. The next attempt
    proves the invite anew.
    """
    with store.writing() as records:
        records.delete(PROFILE, b"")
