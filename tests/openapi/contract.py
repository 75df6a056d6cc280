"""Checks responses against docs/openapi.yaml, and against what 1Password published for Connect 1.7.1."""

import copy
import json
import re
from pathlib import Path

import openapi_spec_validator
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

HERE = Path(__file__).parent
DOCUMENT = HERE.parent.parent / "docs" / "openapi.yaml"
PUBLISHED = HERE / "connect-1.7.1.yaml"

METHODS = ("get", "post", "put", "patch", "delete")


def closed(schema, composed=False):
    """The schema, changed to refuse members that it does not name: an undocumented member must not be sent.

    A part of an `allOf` still allows other members, which its siblings may name; the whole `allOf` refuses them.
    """
    if isinstance(schema, list):
        return [closed(part, composed) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {
        name: closed(part, composed=name in ("allOf", "if", "then", "else")) if name not in ("enum", "const") else part
        for name, part in schema.items()
    }
    describes_an_object = isinstance(schema.get("properties"), dict) or "allOf" in schema
    if describes_an_object and not composed:
        inner["unevaluatedProperties"] = False
    return inner


class Schemas:
    """The schemas of one file, which may reference each other."""

    def __init__(self, name, contents):
        self.name = name
        resource = Resource.from_contents(contents, default_specification=DRAFT202012)
        self.registry = Registry().with_resource(f"urn:{name}", resource)

    def problems(self, schema, value, where):
        # A reference to "#/…" is relative to the whole file, not to this schema.
        schema = json.loads(json.dumps(schema).replace('"#/', f'"urn:{self.name}#/'))
        validator = Draft202012Validator(
            schema, registry=self.registry, format_checker=Draft202012Validator.FORMAT_CHECKER
        )
        return [f"{where}: {self.name}: {e.json_path}: {e.message}" for e in validator.iter_errors(value)]


class Document:
    """docs/openapi.yaml."""

    def __init__(self):
        self.raw = yaml.safe_load(DOCUMENT.read_text())
        openapi_spec_validator.validate(self.raw)
        strict = copy.deepcopy(self.raw)
        schemas = strict["components"]["schemas"]
        parts = set(re.findall(r'"allOf": \[\{"\$ref": "#/components/schemas/(\w+)"', json.dumps(schemas)))
        for name, schema in schemas.items():
            schemas[name] = closed(schema, composed=name in parts)
        self.schemas = Schemas("openapi.yaml", strict)
        self.operations = {
            operation["operationId"]: (method, path, operation)
            for path, item in self.raw["paths"].items()
            for method, operation in item.items()
            if method in METHODS
        }

    def follow(self, node):
        """The node, or the target if it is a reference."""
        while "$ref" in node:
            target = self.raw
            for step in node["$ref"].removeprefix("#/").split("/"):
                target = target[step.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def answers(self, operation_id):
        """The documented responses of an operation, by status."""
        _, _, operation = self.operations[operation_id]
        return {status: self.follow(answer) for status, answer in operation["responses"].items()}

    def problems(self, operation_id, response):
        """Everything in a response that differs from the document."""
        where = f"{operation_id}, {response.status_code}"
        answers = self.answers(operation_id)
        documented = answers.get(str(response.status_code)) or answers.get(f"{response.status_code // 100}XX")
        if documented is None:
            return [f"{where}: the status is not documented"]
        problems = self.header_problems(documented, response, where)
        contents = documented.get("content", {})
        kind = response.headers.get("Content-Type", "").split(";")[0]
        if not contents:
            return problems + ([f"{where}: a body where none is documented"] if response.content else [])
        if kind not in contents:
            return problems + [f"{where}: content type {kind!r} is not documented"]
        schema = contents[kind].get("schema")
        if schema is None or kind == "text/event-stream":
            return problems
        body = response.json() if kind == "application/json" else response.text
        return problems + self.schemas.problems(schema, body, where)

    def header_problems(self, documented, response, where):
        problems = []
        for name, header in documented.get("headers", {}).items():
            header = self.follow(header)
            text = response.headers.get(name)
            if text is None:
                if header.get("required"):
                    problems.append(f"{where}: no header {name}")
                continue
            schema = header["schema"]
            value = int(text) if schema.get("type") == "integer" and text.isdigit() else text
            problems += self.schemas.problems(schema, value, f"{where}: {name}")
        return problems


class Published:
    """connect-1.7.1.yaml."""

    def __init__(self):
        self.contents = yaml.safe_load(PUBLISHED.read_text())
        self.schemas = Schemas("connect-1.7.1.yaml", self.contents)

    def problems(self, method, path, response):
        """Everything in a response that differs from what 1Password published."""
        where = f"{method.upper()} {path}, {response.status_code}"
        if response.status_code >= 400:
            return self.schemas.problems(self.contents["error"], response.json(), where)
        answer = self.contents["answers"].get(f"{method.upper()} {path}")
        if answer is None or response.status_code in (206, 304):
            return []  # Connect does not have this.
        if response.status_code != answer["status"]:
            return [f"{where}: Connect answers {answer['status']}"]
        kind = response.headers.get("Content-Type", "").split(";")[0]
        if "schema" in answer:
            if kind != "application/json":
                return [f"{where}: content type {kind!r}"]
            return self.schemas.problems(answer["schema"], response.json(), where)
        return [f"{where}: content type {kind!r}"] if kind != answer.get("type", "") else []
