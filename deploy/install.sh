#!/bin/sh
# What `make install` and `make uninstall` do, from the top of a checkout; `make deb` fills its package with it.
#
#   sh deploy/install.sh install       into $PREFIX, or upgrade what is there
#   sh deploy/install.sh uninstall     remove it again, except for state and configuration
#
# PREFIX is the virtual environment, BASE where Debian looks for programs, manual pages, completion and units. With DESTDIR all of
# that is put below another folder, as packages are made, and nothing on this machine is touched. pip reads its own environment,
# such as PIP_INDEX_URL.
set -eu
umask 022

PREFIX=${PREFIX:-/opt/securemsg}
BASE=${BASE:-/usr/local}
DESTDIR=${DESTDIR:-}
PYTHON=${PYTHON:-python3}
[ -z "$DESTDIR" ] || DESTDIR=$(realpath -m "$DESTDIR")
venv=$DESTDIR$PREFIX
base=$DESTDIR$BASE
config=/etc/securemsg/securemsg.conf
units="securemsg.socket securemsg.service"

say() {
    echo "securemsg: $*" >&2
}

fail() {
    say "$*"
    exit 1
}

check_package() {
    if [ -z "$DESTDIR" ] && dpkg-query --search "$venv/pyvenv.cfg" >/dev/null 2>&1; then
        fail "the Debian package is installed here; use apt-get for it, or remove it first: apt-get remove securemsg"
    fi
}

# systemd runs here, and is to know.
is_live() {
    [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]
}

is_ours() {
    [ -e "$venv.unfinished" ] || { [ -f "$venv/pyvenv.cfg" ] && [ -e "$venv/share/securemsg" ]; }
}

completions() {
    echo "bash bash-completion/completions/securemsg"
    [ "$BASE" = /usr ] && echo "zsh zsh/vendor-completions/_securemsg" || echo "zsh zsh/site-functions/_securemsg"
    echo "fish fish/vendor_completions.d/securemsg.fish"
}

check_python() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$PYTHON is not Python 3.11 or newer; choose one: make install PYTHON=python3.11"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$PYTHON cannot create virtual environments; on Debian: apt-get install python3-venv"
    case $DESTDIR:$("$PYTHON" -c 'import sys; print(sys.base_prefix)') in
    :/home/* | :/root/*) fail "the service may not read $PYTHON, which is in a home directory; use another: make install PYTHON=/usr/bin/python3" ;;
    esac
}

# The environment. A build would leave root's files in the checkout, so it is done in a copy.
install_program() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    tar -cf - --exclude=__pycache__ --exclude=dropin.cache --exclude='*.so' \
        pyproject.toml setup.cfg setup.py README.md LICENSE deploy securemsg twisted | tar -xf - --no-same-owner -C "$work"
    # If it is interrupted, it goes on from here.
    mkdir -p "$(dirname "$venv")" && touch "$venv.unfinished"
    version='import sys; print(sys.version_info[:2])'
    [ "$("$venv/bin/python" -c "$version" 2>/dev/null)" = "$("$PYTHON" -c "$version")" ] || "$PYTHON" -m venv --clear "$venv"
    mkdir -p "$venv/share/securemsg"
    "$venv/bin/python" -P -m pip install --quiet --disable-pip-version-check --no-compile --upgrade "$work[udp,metrics]" >&2
    # The service may not write there: bytecode, and Twisted's list of plugins. -P keeps Python from reading the checkout.
    "$venv/bin/python" -P -c 'from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))'
    "$venv/bin/python" -P -m compileall -q -x '/(pip|setuptools)/' -s "$DESTDIR" -p / "$venv/lib"
}

remove_pages() {
    rm -f "$base"/share/man/man1/securemsg.1 "$base"/share/man/man1/securemsg-*.1 "$base"/share/man/man5/securemsg.conf.5
}

install_files() {
    remove_pages
    install -d "$base/bin"
    ln -sfn "$PREFIX/bin/securemsg" "$base/bin/securemsg"
    for page in "$venv"/share/man/man*/securemsg*; do
        section=$(basename "$(dirname "$page")")
        install -D -m 644 "$page" "$base/share/man/$section/$(basename "$page")"
    done
    completions | while read -r shell path; do
        install -d "$(dirname "$base/share/$path")"
        "$venv/bin/python" "$venv/bin/securemsg" completion "$shell" >"$base/share/$path"
    done
    install -m 644 deploy/openssl.cnf deploy/alerts.yml deploy/grafana.json deploy/outgoing.conf docs/operations.md "$venv/share/securemsg"
    install -d "$base/lib/systemd/system" "$DESTDIR$(dirname "$config")"
    for unit in $units; do
        sed "s|/opt/securemsg/|$PREFIX/|g" "deploy/$unit" >"$base/lib/systemd/system/$unit"
    done
    "$venv/bin/python" -P -m securemsg.daemon.configsample >"$work/securemsg.conf"
    if [ ! -e "$DESTDIR$config" ]; then
        install -m 644 "$work/securemsg.conf" "$DESTDIR$config"
    elif ! cmp -s "$work/securemsg.conf" "$DESTDIR$config"; then
        install -m 644 "$work/securemsg.conf" "$DESTDIR$config.new"
        say "$config is yours and stays as it is; one with today's options and defaults is beside it: $config.new"
    fi
}

# Scripts and metadata name the folder in which they will be.
relocate() {
    [ -z "$DESTDIR" ] || grep -rlIFZ "$venv" "$venv/bin" "$venv/pyvenv.cfg" | xargs -0r sed -i "s|$venv|$PREFIX|g"
}

install_all() {
    check_package
    check_python
    is_ours || [ -z "$(ls -A "$venv" 2>/dev/null)" ] ||
        fail "$venv holds something else; remove it, or choose another folder: make install PREFIX=/opt/other"
    is_upgrade=$(is_ours && echo yes || true)
    say "installing into $venv; this takes a minute"
    install_program
    install_files
    relocate
    rm -f "$venv.unfinished"
    ! is_live || systemctl daemon-reload
    if [ -n "$DESTDIR" ]; then
        say "installed below $DESTDIR"
        return
    elif [ -n "$is_upgrade" ]; then
        say "upgraded; if the service runs: systemctl restart securemsg (refuses no connection)"
        return
    fi
    say "installed. Next, as root:"
    cat >&2 <<EOF
  1. in $config, set advertise to the name under which clients reach this machine
  2. systemctl enable --now securemsg.socket securemsg.service
  3. cat /var/lib/securemsg/first-invite     the first invite, for: securemsg join
EOF
}

uninstall_all() {
    check_package
    check_package
    is_ours || fail "$venv is not an installation of securemsg; if it is elsewhere: make uninstall PREFIX=..."
    # shellcheck disable=SC2086
    ! is_live || systemctl disable --now $units >&2 || true
    [ "$(readlink "$base/bin/securemsg")" != "$PREFIX/bin/securemsg" ] || rm "$base/bin/securemsg"
    remove_pages
    completions | while read -r shell path; do
        rm -f "$base/share/$path"
    done
    for unit in $units; do
        rm -f "$base/lib/systemd/system/$unit"
    done
    rm -rf "$venv"
    ! is_live || systemctl daemon-reload
    say "removed. These are left, until you remove them, too: configuration in $(dirname "$config"), accounts and mailboxes in" \
        "/var/lib/private/securemsg"
}

case $PREFIX in
/*[!/]*) ;;
*) fail "PREFIX must be the full path of a folder, not '$PREFIX'" ;;
esac
case $PREFIX$BASE in
*[!A-Za-z0-9/._-]*) fail "PREFIX and BASE may have letters, digits and ._-/ only, not '$PREFIX' and '$BASE'" ;;
esac
[ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] || fail "only root may do that: sudo make ${1:-install}"
case ${1:-} in
install) install_all ;;
uninstall) uninstall_all ;;
*) fail "usage: sh deploy/install.sh install|uninstall" ;;
esac
