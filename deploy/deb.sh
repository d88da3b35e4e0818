#!/bin/sh
# What `make deb` does, from the top of a checkout: a Debian package in dist/, by dpkg-deb alone.
#
#   sh deploy/deb.sh               install below build/deb, and pack that
#   sh deploy/deb.sh pack FOLDER   pack a folder that is filled already
#
# It holds a virtual environment, and so is for this architecture and this version of Python. DEBFULLNAME and DEBEMAIL name who
# maintains it, DEB_VERSION another version.
set -eu
umask 022

root=${2:-build/deb}
python=$root/opt/securemsg/bin/python
version=${DEB_VERSION:-$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' securemsg/__init__.py)}
architecture=$(dpkg --print-architecture)

if [ "${1:-}" != pack ]; then
    rm -rf "$root"
    mkdir -p "$root"
    DESTDIR=$(realpath "$root") PREFIX=/opt/securemsg BASE=/usr sh deploy/install.sh install
    # The installation has copied them to where man looks.
    rm -rf "$root/opt/securemsg/share/man"
    gzip -9nr "$root/usr/share/man"
fi
target=$(readlink -f "$python")
case $target in
/usr/bin/python3.*) ;;
*)
    echo "securemsg: a package needs Debian's own Python, not $target: make deb PYTHON=/usr/bin/python3" >&2
    exit 1
    ;;
esac

install -d "$root/DEBIAN" dist
for script in postinst prerm postrm; do
    install -m 755 "$(dirname "$0")/debian/$script" "$root/DEBIAN"
done
echo /etc/securemsg/securemsg.conf >"$root/DEBIAN/conffiles"
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
cat >"$root/DEBIAN/control" <<EOF
Package: securemsg
Version: $version
Architecture: $architecture
Maintainer: ${DEBFULLNAME:-securemsg} <${DEBEMAIL:-root@localhost}>
Installed-Size: $(du -k -s --exclude=DEBIAN "$root" | cut -f1)
Depends: $(basename "$target"), init-system-helpers, libc6
Recommends: systemd
Section: net
Priority: optional
Description: private message service, end-to-end encrypted
 The daemon, as a hardened systemd service, and the client for the terminal.
 .
 Its Python libraries are inside, in /opt/securemsg.
EOF
package=dist/securemsg_${version}_$architecture.deb
# A kill leaves none that is cut off.
dpkg-deb --root-owner-group --build "$root" "$package.new" >&2
mv "$package.new" "$package"
echo "$package"
