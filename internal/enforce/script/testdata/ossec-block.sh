#!/bin/sh
# An OSSEC script: all it knows comes in its arguments. It keeps one file for
# each blocked address, as a firewall keeps a rule.
action=$1 user=$2 ip=$3 alert=$4 rule=$5 location=$6 file=$7

root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
mkdir -p "$root/logs" "$root/blocked"
echo "$(date) $0 $1 $2 $3 $4 $5" >> "$root/logs/active-responses.log"

if [ "$ip" = "" ] || [ "$ip" = "-" ]; then
	echo "usage: $0 add|delete user ip"
	exit 1
fi
case $action in
add)
	printf '%s\n' "$user" "$alert" "$rule" "$location" "$file" > "$root/blocked/$ip" ;;
delete)
	rm -f "$root/blocked/$ip" ;;
*)
	echo "what is $action?"
	exit 1 ;;
esac
