#!/bin/sh
# A Wazuh 3 script: as OSSEC's, with the command's extra arguments behind.
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
mkdir -p "$root/blocked"
action=$1 ip=$3
shift 7
case $action in
add) echo "$*" > "$root/blocked/$ip" ;;
delete) rm -f "$root/blocked/$ip" ;;
*) exit 1 ;;
esac
