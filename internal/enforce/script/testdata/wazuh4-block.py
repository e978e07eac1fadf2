#!/usr/bin/env python3
"""A Wazuh 4 script: one JSON line in, check_keys out, continue or abort in."""
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0]))))


def read():
    message = json.loads(sys.stdin.readline())
    if not isinstance(message["version"], int) or not isinstance(message["origin"], dict):
        sys.exit("not a message")
    return message


def main():
    order = read()
    ip = order["parameters"]["alert"]["data"]["srcip"]
    blocked = os.path.join(ROOT, "blocked", ip)
    if order["command"] == "delete":
        os.remove(blocked)
        return
    if order["command"] != "add":
        sys.exit("what is " + order["command"] + "?")
    question = {
        "version": 1,
        "origin": {"name": "wazuh4-block", "module": "active-response"},
        "command": "check_keys",
        "parameters": {"keys": [ip]},
    }
    print(json.dumps(question), flush=True)
    answer = read()
    if answer["command"] != "continue":
        print("not this time")
        return
    os.makedirs(os.path.dirname(blocked), exist_ok=True)
    with open(blocked, "w") as f:
        json.dump(order, f)
    print("blocked", ip)


main()
