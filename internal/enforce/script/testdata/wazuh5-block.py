#!/usr/bin/env python3
"""A Wazuh 5 script: enable and disable, the address in source.ip."""
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0]))))
order = json.loads(sys.stdin.readline())
if "active_response" not in order["wazuh"]:
    sys.exit("not an order")
ip = order["source"]["ip"]
blocked = os.path.join(ROOT, "blocked", ip)
if order["command"] == "enable":
    print(json.dumps({"version": 1, "origin": {"name": "w5", "module": "active-response"},
                      "command": "check_keys", "parameters": {"keys": [ip]}}), flush=True)
    if json.loads(sys.stdin.readline())["command"] != "continue":
        sys.exit(0)
    os.makedirs(os.path.dirname(blocked), exist_ok=True)
    with open(blocked, "w") as f:
        json.dump(order, f)
elif order["command"] == "disable":
    os.remove(blocked)
else:
    sys.exit("what is " + order["command"] + "?")
