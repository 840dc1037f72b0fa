#!/bin/sh
# Installs those of the named Debian packages that are missing (as root), or says how.
missing=
for package; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "error: packages are missing:$missing" >&2
	echo "why:   only root can install them" >&2
	echo "try:   sudo apt-get install --no-install-recommends$missing" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1 ||
	{ apt-get update -q && apt-get install -y -q --no-install-recommends $missing; }
