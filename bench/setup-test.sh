#!/bin/sh
# Installs the Debian packages named on the command line that are not there yet.
# Anywhere else, or without root, it says what is missing; the tests that need
# it then skip and name it.
set -u
missing=
for p in "$@"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "setup: not installed:$missing (needs root and apt); tests that use them will skip"
	exit 0
fi
echo "setup: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# No package may start a daemon of its own here: the tests start what they need.
policy=/usr/sbin/policy-rc.d
made=
[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=1; }
apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null
status=$?
[ -n "$made" ] && rm -f "$policy"
# Nor at the next boot: a firewall that tests brought along is nobody's wish.
for p in $missing; do
	case $p in firewalld | ufw | nftables | opensmtpd | rsyslog)
		systemctl disable "$p" >/dev/null 2>&1 || true ;;
	esac
done
exit $status
