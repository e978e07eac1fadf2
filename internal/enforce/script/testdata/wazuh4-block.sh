#!/bin/sh
# The least that a Wazuh 4 script can be.
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
mkdir -p "$root/blocked"
read -r line
ip=$(printf '%s' "$line" | sed -n 's/.*"srcip":"\([^"]*\)".*/\1/p')
case $line in
*'"command":"delete"'*)
	rm -f "$root/blocked/$ip"
	exit 0 ;;
esac
printf '{"version":1,"origin":{"name":"sh","module":"active-response"},"command":"check_keys","parameters":{"keys":["%s"]}}\n' "$ip"
read -r answer
case $answer in
*'"command":"continue"'*) echo "$line" > "$root/blocked/$ip" ;;
*) echo "got: $answer"; exit 255 ;;
esac
