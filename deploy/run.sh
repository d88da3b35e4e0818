#!/bin/sh
# What `make run` and `make run-client` do, from the top of a checkout whose .venv is ready.
#
#   sh deploy/run.sh            a chat of `me` with `server`; starts the daemon if none runs, and stops what it started
#   sh deploy/run.sh client     a chat of $NAME with $TO, through the daemon of `make run-server`
#
# Standard output is the chat's alone, and so is the exit status. Everything that is kept lies in .run.
set -eu
umask 077

host=${HOST:-127.0.0.1}
port=${PORT:-8443}
state=.run/state
log=.run/daemon.log
bin=.venv/bin
daemon=

if [ "${1:-}" = client ]; then
    name=${NAME:-guest} to=${TO:-server} profile=.run/client-${NAME:-guest}
else
    name=me to=server profile=.run/profile
fi
# Seconds for whoever answers on the port to prove who it is.
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
    say "$host:$port is not answered by the daemon of $state; stop that program, or take another port: PORT=9000"
    exit 8
}

alive() {
    kill -0 "$daemon" 2>/dev/null
}

# Ends the daemon that we started, and no other: by its number, and within ten seconds.
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
    "$bin/twistd" -n --pidfile= --logfile="$log" securemsg --host "$host" --port "$port" --state "$state" \
        </dev/null >&2 &
    daemon=$!
    tries=150
    until listening; do
        tries=$((tries - 1))
        if ! alive; then
            status=0
            wait "$daemon" || status=$?
            daemon=
            # Of a mistake in the options it says so itself, right above, and writes no log.
            [ "$status" -ne 2 ] || exit 2
            say "the daemon did not start; its log is $log"
            exit 1
        elif [ $tries -eq 0 ]; then
            say "the daemon does not answer on $host:$port; its log is $log"
            exit 1
        fi
        sleep 0.1
    done
}

# The first invite serves once; after that we are the operator, and make another. Whoever answers on the port is not ours where
# no daemon runs on our folder, or where it cannot prove to be that one.
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
    say "PORT is a number from 1 to 65535, not '$port'"
    exit 2
    ;;
esac
if listening; then
    :
elif [ "${1:-}" = client ]; then
    say "nothing answers on $host:$port; start the daemon first, in another terminal: make run-server"
    exit 6
else
    start
fi
ours whoami >/dev/null 2>&1 || join
# The pin tells our daemon from any other program that may have the port.
[ -n "$daemon" ] || ours ping --timeout $patience >/dev/null 2>&1 || foreign
ours chat "$to"
