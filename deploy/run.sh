#!/bin/sh
# What `make run` and `make run-client` do, from the top of a checkout whose .venv is ready.
#
#   sh deploy/run.sh            `me` chats with `server`; starts a daemon if none is running, and stops it again
#   sh deploy/run.sh client     $NAME chats with $TO, through the daemon of `make run-server`
#
# Standard output and the exit status are those of the chat. All data is in .run.
set -eu
umask 077

host=${HOST:-127.0.0.1}
port=${PORT:-8443}
# As people write it: an IPv6 address in brackets.
case $host in
\[*\]) host=${host#\[} host=${host%\]} ;;
esac
case $host in
*:*) shown="[$host]:$port" ;;
*) shown="$host:$port" ;;
esac
state=.run/state
log=.run/daemon.log
# What the daemon prints, such as a mistake in the options.
printed=.run/printed
bin=.venv/bin
daemon=

if [ "${1:-}" = client ]; then
    target=run-client name=${NAME:-guest} to=${TO:-server} profile=.run/client-${NAME:-guest}
else
    target=run name=me to=server profile=.run/profile
fi
# Seconds in which the program that listens on the port must prove its identity.
patience=10

say() {
    echo "securemsg: $*" >&2
}

ours() {
    "$bin/securemsg" --profile "$profile" --host "$host" --port "$port" "$@"
}

listening() {
    "$bin/python" -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()' \
        "$host" "$port" 2>/dev/null
}

foreign() {
    say "another program uses $shown; stop it, or: make $target PORT=9000"
    exit 8
}

alive() {
    kill -0 "$daemon" 2>/dev/null
}

# Ends the daemon that we started, by its process id, within ten seconds.
stop() {
    status=$?
    trap '' INT TERM HUP
    trap - EXIT
    if [ -n "$daemon" ] && alive; then
        kill -TERM "$daemon"
        tries=100
        while alive && [ $tries -gt 0 ]; do
            sleep 0.1
            tries=$((tries - 1))
        done
        alive && kill -KILL "$daemon" 2>/dev/null
    fi
    exit "$status"
}

start() {
    "$bin/twistd" -n --logfile="$log" securemsg --host "$host" --port "$port" --state "$state" \
        </dev/null >$printed 2>&1 &
    daemon=$!
    tries=150
    until listening; do
        tries=$((tries - 1))
        if ! alive; then
            status=0
            wait "$daemon" || status=$?
            daemon=
            cat $printed >&2
            # After a mistake in the options there is no log.
            [ "$status" -ne 2 ] || exit 2
            say "the daemon did not start; see $log"
            exit 1
        elif [ $tries -eq 0 ]; then
            say "the daemon does not answer on $shown; see $log"
            exit 1
        fi
        sleep 0.1
    done
}

# The first invite is for one person; after that we create another, as the operator. If no daemon runs on our folder, or the one
# on the port cannot prove to be that daemon, another program has the port.
join() {
    if [ -e "$state/first-invite" ] && ours join --timeout $patience - "$name" <"$state/first-invite" >/dev/null 2>&1; then
        return
    fi
    invite=$("$bin/securemsg" admin --state "$state" invite 2>/dev/null) || foreign
    status=0
    said=$(echo "$invite" | ours join --timeout $patience - "$name" 2>&1) || status=$?
    case $status in
    6 | 8) foreign ;;
    esac
    echo "$said" >&2
    [ $status -eq 0 ] || exit $status
}

mkdir -p .run
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

case $port in
'' | *[!0-9]*)
    say "PORT must be a number from 1 to 65535, not '$port'"
    exit 2
    ;;
esac
if listening; then
    :
elif [ "${1:-}" = client ]; then
    say "nothing listens on $shown; start the daemon first, in another terminal: make run-server"
    exit 6
else
    start
fi
ours whoami >/dev/null 2>&1 || join
# The pin distinguishes our daemon from any other program on the port.
[ -n "$daemon" ] || ours ping --timeout $patience >/dev/null 2>&1 || foreign
ours chat "$to"
