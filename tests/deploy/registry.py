#!/usr/bin/env python3
"""A container registry on a free port of 127.0.0.1, which answers reads from OCI layouts, and prints its address first.

    tests/deploy/registry.py NAME=DIRECTORY...
"""

import http.server
import json
import os
import re
import sys

layouts = dict(argument.split("=", 1) for argument in sys.argv[1:])


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind, content = self.find()
        self.send_response(200 if kind else 404)
        self.send_header("Content-Length", str(len(content)))
        if kind:
            self.send_header("Content-Type", kind)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET

    def find(self):
        if self.path == "/v2/":
            return "application/json", b"{}"
        name, what, reference = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/(.+)", self.path).groups()
        layout = layouts.get(name, "")
        if what == "manifests" and not reference.startswith("sha256:"):
            with open(os.path.join(layout, "index.json")) as file:
                entries = json.load(file)["manifests"]
            tags = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in entries}
            reference = tags.get(reference, "")
        path = os.path.join(layout, "blobs", *reference.split(":"))
        if not os.path.isfile(path):
            return None, b""
        with open(path, "rb") as file:
            content = file.read()
        return json.loads(content)["mediaType"] if what == "manifests" else "application/octet-stream", content

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
print(f"127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
