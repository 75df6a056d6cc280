"""Runs the published Python client for Connect against a running server and asserts the results that its user gets.

Every test that takes `connect` runs twice: with the blocking client and with the async one.
"""

import asyncio
import inspect
import os
import secrets as random

import pytest
from onepasswordconnectsdk import new_client
from onepasswordconnectsdk.errors import FailedToRetrieveItemException
from onepasswordconnectsdk.models import Field, Item, ItemVault

REQUIRED = [
    "OP_CONNECT_HOST",
    "OP_CONNECT_TOKEN",
    "SIDEVAULT_READONLY_TOKEN",
    "SIDEVAULT_SECRETS_ONLY_TOKEN",
    "SIDEVAULT_EXPIRED_TOKEN",
]


def pytest_configure():
    missing = [name for name in REQUIRED if not os.environ.get(name)]
    if missing:
        pytest.exit(f"{', '.join(missing)} not set: this suite needs a running server", returncode=2)
    # These variables change the client's behaviour.
    for name in ["OP_VAULT", "OP_CONNECT_CLIENT_ASYNC", "OP_CONNECT_CLIENT_REQ_TIMEOUT"]:
        os.environ.pop(name, None)


class Awaited:
    """The async client, each call awaited at once, so that one test fits both clients."""

    def __init__(self, client, loop):
        self._client = client
        self._loop = loop

    def __getattr__(self, name):
        member = getattr(self._client, name)
        if not callable(member):
            return member

        def call(*args, **kwargs):
            result = member(*args, **kwargs)
            return self._loop.run_until_complete(result) if inspect.isawaitable(result) else result

        return call


@pytest.fixture(scope="session", params=["sync", "async"])
def connect_with(request):
    """Makes a client for a token: `connect_with(token)`."""
    loop = asyncio.new_event_loop() if request.param == "async" else None
    opened = []

    def make(token, url=os.environ["OP_CONNECT_HOST"], **kwargs):
        client = new_client(url, token, is_async=loop is not None, **kwargs)
        opened.append(client)
        return Awaited(client, loop) if loop else client

    yield make
    for client in opened:
        if loop:
            loop.run_until_complete(client.session.aclose())
        else:
            client.session.close()
    if loop:
        loop.close()


@pytest.fixture(scope="session")
def connect(connect_with):
    """The main token: read and write on apps, read on secrets."""
    return connect_with(os.environ["OP_CONNECT_TOKEN"])


@pytest.fixture(scope="session")
def readonly(connect_with):
    return connect_with(os.environ["SIDEVAULT_READONLY_TOKEN"])


@pytest.fixture(scope="session")
def secrets_only(connect_with):
    return connect_with(os.environ["SIDEVAULT_SECRETS_ONLY_TOKEN"])


@pytest.fixture(scope="session")
def apps(connect):
    """The id of the writable vault."""
    return connect.get_vault_by_title("apps").id


@pytest.fixture(scope="session")
def secrets(connect):
    """The id of the read-only vault."""
    return connect.get_vault_by_title("secrets").id


@pytest.fixture
def title(request):
    """Returns a unique title, so that tests and runs do not find each other's items."""
    return f"{request.node.name} {random.token_hex(6)}"


@pytest.fixture
def login(title, apps):
    return Item(
        title=title,
        vault=ItemVault(id=apps),
        category="LOGIN",
        fields=[
            Field(id="username", type="STRING", purpose="USERNAME", label="username", value="ada"),
            Field(id="password", type="CONCEALED", purpose="PASSWORD", label="password", value="first"),
        ],
    )


@pytest.fixture
def create(connect, apps):
    """Makes an item in apps and deletes it when the test ends."""
    made = []

    def make(item):
        item = connect.create_item(apps, item)
        made.append(item.id)
        return item

    yield make
    for item_id in made:
        try:
            connect.delete_item(item_id, apps)
        except FailedToRetrieveItemException as gone:
            assert "Received 404" in str(gone)


def field(item, label):
    """The one field of that label."""
    found = [f for f in item.fields if f.label == label]
    assert len(found) == 1, f"{len(found)} fields {label!r}"
    return found[0]
