"""Makes an item for hooks.py, and prints the ids that hooks.py uses. Usage: seed.py READY >SEEDS"""

import json
import sys

import requests

with open(sys.argv[1], encoding="utf-8") as ready:
    server = json.load(ready)
url = server["url"].replace("localhost", "127.0.0.1")
vaults = {vault["name"]: vault["id"] for vault in server["vaults"]}
session = requests.Session()
session.headers["Authorization"] = f"Bearer {server['token']}"

item = {
    "title": "Seed",
    "category": "LOGIN",
    "fields": [{"purpose": "USERNAME", "value": "ann"}, {"purpose": "PASSWORD", "generate": True}],
}
made = session.post(f"{url}/v1/vaults/{vaults['apps']}/items", json=item, timeout=20)
made.raise_for_status()
listed = session.get(f"{url}/v1/vaults/{vaults['files']}/items", timeout=20).json()
small = next(item for item in listed if item["title"] == "small.bin")

json.dump(
    {"apps": {"item": made.json()["id"]}, "files": {"item": small["id"], "file": small["files"][0]["id"]}},
    sys.stdout,
)
