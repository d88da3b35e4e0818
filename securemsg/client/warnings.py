"""The texts of warnings. C{{name}} stands for the contact that a warning is about."""

from __future__ import annotations

# What to do where the server's word about a contact cannot be right.
_TELL = "; tell {name}, and ask the server's operator"
_STOLEN = (
    "somebody has your keys: ask the server's operator to remove the account, tell your contacts, and join again with a new"
    " profile"
)
_KEY_FILE = (
    "it is kept, and opened once you give the file that {name} uses:"
    " securemsg contacts {name} --set-suite psk --key-file FILE"
)

# Good news, which users are told in the same way.
NEWS = frozenset({"joined", "stream-begun"})
WARNINGS: dict[str, str] = {
    "joined": "{name} has joined with your invite, and is verified",
    "stream-begun": "{name} has begun a stream; to take it: securemsg pipe --from {name}",
    "identity-changed": "{name}'s keys have changed: a new device, or somebody posing as {name}. Messages from {name} are held"
    " back and nothing is sent until you accept the new keys. Compare numbers first: securemsg verify {name}; then:"
    " securemsg contacts accept {name}",
    "identity-renewed": "{name} has renewed their keys, which the old ones have signed; they are used from now on, as you have"
    " chosen (securemsg contacts policy {name} signed)",
    "identity-followed": "{name}'s keys have changed, and the new ones are used from now on, as you have chosen (securemsg"
    " contacts policy {name} tofu): whoever runs the server could be posing as {name}",
    "list-rolled-back": "the server showed an old device list of {name}; it was ignored" + _TELL,
    "list-forked": "the server showed two device lists of {name} that contradict each other; the first one stays in use"
    + _TELL,
    "contact-list-forked": "the server showed you a different device list of {name} than {name} has" + _TELL,
    "contact-list-withheld": "{name} has a newer device list than the one the server shows" + _TELL,
    "contact-list-old": "the device list of {name} has not been renewed for a month: {name} was offline, or the server"
    " withholds a newer list; ask {name} whether it was the former",
    "own-list-unknown": "the server showed {name} a device list of yours that this profile never made. If this profile is not"
    " an old copy, " + _STOLEN,
    "own-list-forked": "the server showed {name} a device list of yours that contradicts the real one" + _TELL,
    "own-list-rolled-back": "the server showed an old device list of this account, as after a restore from a backup; the newest"
    " was published again. If it happens again, ask the server's operator",
    "own-list-old": "the server still shows {name} a device list of yours that was replaced long ago" + _TELL,
    "messages-forked": "messages from {name} contradict each other: the device was copied, or somebody tampered with them;"
    " ask {name} over another channel",
    "unauthentic": "what the server says about {name} is not signed by {name}; it was ignored" + _TELL,
    "bad-device-list": "the server showed a malformed device list of {name}; it was ignored" + _TELL,
    "spent-bundle": "the server handed out keys of {name} that were used before; they were ignored" + _TELL,
    "stale-bundle": "the keys of {name} that the server shows are more than a month old, or from the future; nothing is sent"
    " with them: {name} has been offline, the server withholds newer ones, or a clock is wrong",
    "bundle-old": "the keys of {name} that the server shows are more than two weeks old: {name} has been offline, or the server"
    " withholds newer ones",
    "bad-content": "a message from {name} is not readable by this version; ask {name} which program sent it",
    "late-answer": "{name} answered a question of yours that was already answered or had expired; the answer does not count",
    "bad-answer": "an answer from {name} fits no question that you have asked {name}, and was ignored",
    "suite-unavailable": "a message from {name} is encrypted with a key file that was not given here, or by a newer version; "
    + _KEY_FILE,
    "wrong-key": "a message from {name} does not fit the key file that was given for {name}; " + _KEY_FILE,
    "own-account": "the server delivered a message that claims to come from this account; it was ignored",
    "quarantine-full": "messages from {name} could not be opened and were dropped, because too many are held back already",
    "state-restored": "the server knows of messages or logins of this device that this profile does not. Either this"
    " profile is an old copy, a copy is in use elsewhere, or the server lies. Sessions start afresh; messages may be missing."
    " If you restored nothing and made no copy, " + _STOLEN,
    "state-copied": "the server has seen messages or a login of this device that were not its own: a copy of this profile is in"
    " use elsewhere, or the server lies. Sessions start afresh. If you made no copy, " + _STOLEN,
    "server-behind": "the server has lost messages that it had stored for this device's contacts: it was restored from an older"
    " copy, or it lies. What it stored in the last 30 days and was not confirmed as delivered is sent again",
    "own-device-added": "somebody with a copy of this account's keys added a device to it; it was refused, and a"
    " list without it has been published. To see it: securemsg devices; if it is yours: securemsg devices accept ID; if it is"
    " not, " + _STOLEN,
    "contact-device-added": "{name} has a new device, or somebody has a copy of {name}'s keys: {name} is unverified until you"
    " have asked {name} and confirmed it: securemsg verify {name}",
    "device-removed": "this device is no longer on its account's device list: it was removed on another device, or by"
    " somebody with a copy of its keys. If you did not remove it, " + _STOLEN,
    "trust-changed": "the profile's record of {name} was changed, put back or deleted by another program: {name} counts"
    " as unverified, and a key file may have to be set again. Compare numbers again: securemsg verify {name}",
    "trust-lost": "the record of whom this profile trusts was deleted by another program: every contact counts as unverified,"
    " and key files may have to be set again. Compare numbers again: securemsg verify NAME",
    "clock": "the clocks of this machine and the server differ by more than an hour; set this machine's clock, or tell"
    " the server's operator",
    "prekeys-refused": "the server refuses this device's prekeys; new contacts may be unable to write to it; ask the server's"
    " operator",
    "prekeys-unconfirmed": "the server has not confirmed new keys of this device for two weeks; new contacts may soon be unable"
    " to write to it; ask the server's operator",
    "own-key-changed": "the server shows an RSA key of this device that this profile does not have; a list with the right one,"
    " or none, was published. Unless this profile was put back to an older copy, " + _STOLEN,
    "words-guessed": "somebody used the number of your short invite with other words, mistyped or guessed; nothing was given"
    " away, and the number is used up. To make a new one: securemsg invite",
    "own-list-invalid": "the server shows a device list of this account that is malformed or not signed by its keys; it was"
    " ignored; ask the server's operator",
}


def warning_text(code: str, name: str) -> str:
    """The text of a warning."""
    return WARNINGS.get(code, "something is wrong with {name}").format(name=name)
