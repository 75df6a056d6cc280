"""Sends a valid request to every operation of the document, and checks each response against both contracts.

Usage: happy_path.py READY, where READY is what `sidevault quickstart --json` printed. The server must have a local
vault `apps` and a directory vault `files` with the items that run.sh makes.
"""

import base64
import json
import os
import subprocess
import sys
import time
from urllib.parse import quote

import requests

from contract import Document, Published

PLAIN_SUCCESS = ("200", "204", "206", "304")


class Story:
    """A client that collects the kinds of responses it got, and what was wrong with them."""

    def __init__(self, url, token):
        self.url, self.token = url, token
        self.document, self.published = Document(), Published()
        self.session = requests.Session()
        self.seen, self.wrong = set(), []

    def ask(self, operation_id, expected=200, names=(), token=None, **request):
        """Sends a request, and checks the response. `names` are the path's parameters in order."""
        method, path, _ = self.document.operations[operation_id]
        filled = path
        for name in names:
            start, end = filled.index("{"), filled.index("}")
            filled = filled[:start] + quote(str(name), safe="") + filled[end + 1 :]
        headers = {"Authorization": f"Bearer {self.token if token is None else token}", **request.pop("headers", {})}
        response = self.session.request(method, self.url + filled, headers=headers, timeout=20, **request)
        self.check(response.status_code == expected, f"{operation_id}: {response.status_code}, not {expected}")
        self.seen.add((operation_id, str(response.status_code)))
        if not request.get("stream"):
            self.wrong += self.document.problems(operation_id, response)
            self.wrong += self.published.problems(method, path, response)
        return response

    def check(self, holds, otherwise):
        if not holds:
            self.wrong.append(otherwise)

    def missing(self):
        """The documented successful responses that no request led to."""
        return [
            f"{operation_id}: no request led to the documented {status}"
            for operation_id in self.document.operations
            for status in self.document.answers(operation_id)
            if status in PLAIN_SUCCESS and (operation_id, status) not in self.seen
        ]


def rich_item(vault):
    """An item with everything that Connect 1.7.1 has."""
    return {
        "title": "Everything",
        "category": "LOGIN",
        "vault": {"id": vault},
        "favorite": True,
        "tags": ["prod", "a b"],
        "urls": [{"href": "https://example.com", "label": "site", "primary": True}, {"href": "https://example.org"}],
        "sections": [{"id": "s1", "label": "Section one"}],
        "fields": [
            {"purpose": "USERNAME", "value": "ann"},
            {"purpose": "PASSWORD", "generate": True, "recipe": {"length": 20, "characterSets": ["LETTERS", "DIGITS"]}},
            {"purpose": "NOTES", "value": "line one\nline two"},
            {"id": "mail", "type": "EMAIL", "label": "mail", "value": "ann@example.com"},
            {"id": "key", "type": "CONCEALED", "label": "key", "value": "\u0000 \r\n \U0001f511", "section": {"id": "s1"}},
            {"type": "URL", "label": "link", "value": "https://example.com/x", "section": {"id": "made", "label": "Made"}},
            {"type": "OTP", "label": "code", "value": "JBSWY3DPEHPK3PXP"},
            {"type": "DATE", "label": "day", "value": "2024-05-03"},
            {"type": "MONTH_YEAR", "label": "month", "value": "202405"},
            {"type": "MENU", "label": "choice", "value": "b"},
            {"type": "STRING", "label": "empty"},
        ],
    }


def items(story, vault):
    """Create, read, replace, patch, restore, delete."""
    made = story.ask("createItem", names=[vault], json=rich_item(vault)).json()
    item = made["id"]
    story.check(made["version"] == 1, "a new item's version is not 1")
    fields = {field["label"]: field for field in made["fields"]}
    story.check(len(fields["password"]["value"]) == 20, "the recipe was not followed")
    story.check(fields["code"].get("totp", "").isdigit(), "no code for the OTP field")
    story.check(fields["day"]["value"].isdigit(), "a DATE is not in seconds")

    read = story.ask("getItem", names=[vault, item])
    story.check("ETag" not in read.headers, "an item with a one-time password has an ETag")
    replaced = story.ask("replaceItem", names=[vault, item], json={**read.json(), "title": "Replaced"}).json()
    story.check(replaced["version"] == 1, "PUT does not answer with the version from before")
    operations = [
        {"op": "replace", "path": "/fields/password/value", "value": "another"},
        {"op": "remove", "path": "/tags/1"},
        {"op": "add", "path": "/fields", "value": {"label": "added", "value": "x"}},
    ]
    patched = story.ask("patchItem", names=[vault, item], json=operations).json()
    story.check(patched["version"] == 2 and patched["tags"] == ["prod"], "PATCH did not apply its operations")
    password = next(field for field in patched["fields"] if field.get("purpose") == "PASSWORD")
    story.check("passwordDetails" in password, "a changed password has no history")
    story.ask("patchItem", names=[vault, item], json=[])

    versions = story.ask("listVersions", names=[vault, item]).json()
    story.check([v["version"] for v in versions] == [3, 2, 1], f"versions {versions}")
    old = story.ask("getItem", names=[vault, item], params={"version": 1}).json()
    story.check(old["title"] == "Everything" and old["version"] == 1, "?version=1 is not the first version")
    outline = story.ask("getOutline", names=[vault, item]).json()
    story.check(all("value" not in field for field in outline["fields"]), "an outline has values")
    changes = story.ask("getDifferences", names=[vault, item, 3], params={"with": 2}).json()
    story.check(changes["from"] == 2 and {field["change"] for field in changes["fields"]} == {"changed", "added"}, f"differences {changes}")
    story.ask("restoreVersion", names=[vault, item, 1])
    story.check(story.ask("getItem", names=[vault, item]).json()["title"] == "Everything", "the first version was not restored")

    story.ask("listItems", names=["APPS"])
    by_title = story.ask("listItems", names=[vault], params={"filter": 'title eq "everything"'}).json()
    story.check([hit["id"] for hit in by_title] == [item], "the item is not found by its title")
    story.check(story.ask("getItem", names=["apps", "Everything"]).json()["id"] == item, "an item is not found by the names of vault and item")
    story.ask("deleteItem", 204, names=[vault, item])
    story.ask("getItem", 404, names=[vault, item])
    story.ask("deleteItem", 404, names=[vault, item])


def references(story, vault):
    """A value, a file's content, and an error, in one request."""
    made = story.ask("createItem", names=[vault], json=rich_item(vault)).json()
    asked = [f"op://apps/{made['id']}/username", "op://FILES/login.yaml/x", "op://files/login/password", "op://apps/none/x", "x"]
    results = story.ask("resolveReferences", json={"references": asked}).json()["results"]
    story.check(results[0].get("value") == "ann", "a field is not resolved")
    story.check(results[2].get("value") == "correct horse", "a field of a file's item is not resolved")
    kinds = [result.get("error", {}).get("kind") for result in results]
    # `login.yaml` is the path of the item's file.
    story.check(kinds == [None, "fieldNotFound", None, "itemNotFound", "parsing"], f"kinds {kinds}")
    story.ask("resolveReferences", 400, json={"references": [1]})
    story.ask("resolveReferences", 413, json={"references": ["x"] * 1001})
    story.ask("deleteItem", 204, names=[vault, made["id"]])


def caching(story, vault):
    plain = story.ask("createItem", names=[vault], json={"title": "Plain", "category": "SERVER"}).json()
    tag = story.ask("getItem", names=[vault, plain["id"]]).headers.get("ETag")
    story.check(tag is not None, "no ETag")
    story.ask("getItem", 304, names=[vault, plain["id"]], headers={"If-None-Match": tag or "*"})
    story.ask("patchItem", names=[vault, plain["id"]], json=[{"op": "replace", "path": "/favorite", "value": True}])
    story.ask("getItem", names=[vault, plain["id"]], headers={"If-None-Match": tag or "x"})


def files(story, vault):
    listed = story.ask("listItems", names=[vault]).json()
    found = {item["title"]: item for item in listed}
    small, large = found["small.bin"], found["large.bin"]
    names = [vault, small["id"], small["files"][0]["id"]]
    whole = bytes(range(256))

    story.ask("getItem", names=names[:2])
    shown = story.ask("listFiles", names=names[:2]).json()
    story.check("content" not in shown[0], "content without inline_files")
    inline = {"inline_files": "true"}
    for answer in (
        story.ask("listFiles", names=names[:2], params=inline).json()[0],
        story.ask("getFile", names=names, params=inline).json(),
    ):
        story.check(base64.b64decode(answer.get("content", "")) == whole, "the inlined content differs")
    story.ask("getFile", names=names)
    content = story.ask("getFileContent", names=names)
    story.check(content.content == whole, "the content differs")
    story.ask("getFileContent", 304, names=names, headers={"If-None-Match": content.headers.get("ETag", "")})
    path = requests.get(
        story.url + shown[0]["content_path"], headers={"Authorization": f"Bearer {story.token}"}, timeout=20
    )
    story.check(path.content == whole, "content_path leads to other content")
    part = story.ask("getFileContent", 206, names=names, headers={"Range": "bytes=10-19"})
    story.check(part.content == whole[10:20], "the range differs")
    story.ask("getFileContent", 416, names=names, headers={"Range": "bytes=256-"})
    by_name = story.ask("getFileContent", names=["files", "small.bin", "small.bin"])
    story.check(by_name.content == whole, "a file is not found by names")

    too_large = [vault, large["id"], large["files"][0]["id"]]
    story.ask("listFiles", 413, names=too_large[:2], params=inline)
    story.ask("getFile", 413, names=too_large, params=inline)
    story.ask("getFile", 404, names=[vault, small["id"], "a" * 26])
    story.ask("createItem", 403, names=[vault], json={"category": "LOGIN"})


def activity(story):
    page = story.ask("listActivity", params={"limit": 5})
    story.check(len(page.json()) == 5, "activity shows other than 5 records")
    story.check(page.headers.get("Content-Range", "").startswith("1-5/"), "Content-Range does not count from 1")
    behind = story.ask("listActivity", params={"offset": 10**9})
    story.check(behind.json() == [], "activity has records beyond its end")
    wanted = {"action": {"READ", "CREATE", "UPDATE", "DELETE"}, "result": {"SUCCESS", "DENY"}}
    # The api hands its records to sync about once a second.
    for _ in range(100):
        every = story.ask("listActivity", params={"limit": 1000}).json()
        shown = {member: {record[member] for record in every} for member in wanted}
        if shown == wanted:
            break
        time.sleep(0.1)
    story.check(shown == wanted, f"activity shows {shown}")


def tokens(story, ready):
    made = subprocess.run(
        [os.environ["SIDEVAULT_BIN"], "token", "create", "doomed", "--data", ready["dataDir"], "--vault", "apps=read"],
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout.strip()
    own = story.ask("getOwnToken", token=made).json()
    story.check(own["name"] == "doomed" and len(own["vaults"]) == 1, f"own token {own}")
    listed = story.ask("listTokens").json()
    story.check(any(token["jti"] == own["jti"] and token["canRevoke"] for token in listed), "the token is not listed")
    (caller,) = [token for token in listed if token["isCaller"]]
    story.ask("revokeToken", 403, names=[caller["jti"]], token=made)
    story.ask("revokeToken", 404, names=["a" * 26])
    story.ask("revokeToken", 204, names=[own["jti"]])
    story.ask("getOwnToken", 401, token=made)


def history(story):
    # Sync tells the api of its sources every five seconds.
    for _ in range(200):
        shown = story.ask("getHistory").json()
        if shown["sources"]:
            break
        time.sleep(0.1)
    story.check(sum(shown["requests"]["count"]) > 0, "the history has no requests")
    story.check(len(shown["sources"]) > 0, "the history has no sources")


def events(story, vault):
    with story.ask("streamEvents", stream=True) as stream:
        story.wrong += story.document.header_problems(
            story.document.answers("streamEvents")["200"], stream, "streamEvents"
        )
        kind = stream.headers.get("Content-Type", "")
        story.check(kind.split(";")[0] == "text/event-stream", f"events come as {kind}")
        made = story.ask("createItem", names=[vault], json={"title": "Created", "category": "SERVER"}).json()
        for line in stream.iter_lines(chunk_size=1, decode_unicode=True):
            if line.startswith("data:") and line[5:].strip():
                event = json.loads(line[5:])
                schema = {"$ref": "#/components/schemas/ChangeEvent"}
                story.wrong += story.document.schemas.problems(schema, event, "streamEvents")
                if event.get("item") == made["id"]:
                    return
        story.check(False, "the stream did not show the change")


def errors(story, vault):
    for operation_id in story.document.operations:
        if "401" not in story.document.answers(operation_id):
            continue
        count = story.document.operations[operation_id][1].count("{")
        names = [vault, "a" * 26, "1"][:count]
        story.ask(operation_id, 401, names=names, token="nonsense")
    story.ask("getVault", 400, names=["no such vault"])
    story.ask("getVault", 403, names=["a" * 26])
    story.ask("listVaults", 400, params={"filter": 'name eq "'})
    story.ask("listItems", 400, names=[vault], params={"filter": "colour eq 1"})
    story.ask("createItem", 400, names=[vault], data="{")
    story.ask("createItem", 400, names=[vault], json={"category": "NO_SUCH"})
    too_large = story.ask("createItem", 413, names=[vault], data=b" " * (5 << 20))
    # The server does not read the rest, so the client must not use the connection again.
    story.check(too_large.headers.get("Connection") == "close", "a refused body leaves the connection open")
    story.ask("listActivity", 400, params={"limit": "many"})
    story.ask("streamEvents", 400, headers={"Last-Event-ID": "x"})
    for method, path, status in (("GET", "/v1/nothing", 404), ("DELETE", "/v1/vaults", 405), ("POST", "/health", 405)):
        response = story.session.request(method, story.url + path, timeout=20)
        story.check(response.status_code == status, f"{method} {path}: {response.status_code}")
        story.wrong += story.published.problems(method, path, response)
        schema = {"$ref": "#/components/schemas/Error"}
        story.wrong += story.document.schemas.problems(schema, response.json(), f"{method} {path}")
        story.check("Allow" in response.headers or status != 405, f"{method} {path}: no Allow")


def main():
    with open(sys.argv[1], encoding="utf-8") as ready:
        server = json.load(ready)
    story = Story(server["url"].replace("localhost", "127.0.0.1"), server["token"])
    vaults = {vault["name"]: vault["id"] for vault in server["vaults"]}

    for status_only in ("getHeartbeat", "getHeartbeatUnderV1", "getHealth", "getHealthUnderV1", "getMetrics"):
        story.ask(status_only)
    story.ask("listVaults")
    story.ask("listVaults", params={"filter": 'name eq "APPS"'})
    story.ask("getVault", names=[vaults["apps"]])
    story.ask("getVault", names=[vaults["files"]])
    items(story, vaults["apps"])
    references(story, vaults["apps"])
    caching(story, vaults["apps"])
    files(story, vaults["files"])
    tokens(story, server)
    history(story)
    events(story, vaults["apps"])
    errors(story, vaults["apps"])
    # Records reach the store about a second later.
    for _ in range(100):
        if len(story.ask("listActivity").json()) >= 5:
            break
        time.sleep(0.1)
    activity(story)

    wrong = story.wrong + story.missing()
    for problem in dict.fromkeys(wrong):
        print(f"  {problem}")
    print(f"happy path: {len(story.seen)} kinds of responses checked, {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
