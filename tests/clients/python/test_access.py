import os

import pytest
from onepasswordconnectsdk import new_client_from_environment
from onepasswordconnectsdk.async_client import AsyncClient
from onepasswordconnectsdk.client import Client
from onepasswordconnectsdk.errors import (
    EnvironmentHostNotSetException,
    EnvironmentTokenNotSetException,
    OnePasswordConnectSDKError,
)

UNKNOWN = "z" * 26


def other_signature():
    """Changes one character in the middle of the signature, so that the token stays well-formed."""
    token = os.environ["OP_CONNECT_TOKEN"]
    at = token.rindex(".") + 20
    return token[:at] + ("B" if token[at] == "A" else "A") + token[at + 1:]


def every_call(client, vault, item):
    """Each kind of request that the client has, with the item's id or an unknown one."""
    item_id = item.id or UNKNOWN
    return {
        "get_vaults": lambda: client.get_vaults(),
        "get_vault": lambda: client.get_vault(vault),
        "get_vault_by_title": lambda: client.get_vault_by_title("secrets"),
        "get_items": lambda: client.get_items(vault),
        "get_items filtered": lambda: client.get_items(vault, 'title eq "x"'),
        "get_item": lambda: client.get_item(item_id, vault),
        "get_item_by_id": lambda: client.get_item_by_id(item_id, vault),
        "get_item_by_title": lambda: client.get_item_by_title("x", vault),
        "create_item": lambda: client.create_item(vault, item),
        "update_item": lambda: client.update_item(item_id, vault, item),
        "delete_item": lambda: client.delete_item(item_id, vault),
        "get_files": lambda: client.get_files(item_id, vault),
        "get_file": lambda: client.get_file(UNKNOWN, item_id, vault),
        "get_file_content": lambda: client.get_file_content(UNKNOWN, item_id, vault),
        "download_file": lambda: client.download_file(UNKNOWN, item_id, vault, "/nonexistent"),
    }


@pytest.mark.parametrize(
    "token, message",
    [
        ("nonsense", "Invalid bearer token"),
        (os.environ.get("OP_CONNECT_TOKEN", "")[:83], "Invalid bearer token"),
        (os.environ.get("SIDEVAULT_EXPIRED_TOKEN", ""), "Invalid bearer token"),
        (other_signature(), "Invalid token signature"),
    ],
    ids=["not a JWT", "cut", "expired", "other signature"],
)
def test_tokens_that_do_not_hold(connect_with, apps, login, token, message):
    for name, call in every_call(connect_with(token), apps, login).items():
        with pytest.raises(OnePasswordConnectSDKError, match=f"Received 401 .*{message}$") as error:
            call()
        assert token not in str(error.value), name


def test_foreign_vault_is_forbidden_in_every_call(connect, secrets_only, create, login, apps):
    item = create(login)
    for name, call in every_call(secrets_only, apps, item).items():
        if name in ("get_vaults", "get_vault_by_title"):
            call()
            continue
        with pytest.raises(OnePasswordConnectSDKError, match="Received 403 .*message:? Authorization"):
            call()
    assert connect.get_item(item.id, apps).version == 1


@pytest.mark.parametrize("which", ["read-only token", "read-only vault"])
def test_writes_that_are_refused(connect, readonly, create, login, apps, secrets, which):
    if which == "read-only token":
        client, vault, item = readonly, apps, create(login)
    else:
        client, vault, item = connect, secrets, connect.get_item("api", secrets)
    before = client.get_item(item.id, vault)
    forbidden = "Received 403 .*message: Authorization"
    login.vault.id = vault
    with pytest.raises(OnePasswordConnectSDKError, match=forbidden):
        client.create_item(vault, login)
    item.title = "changed"
    with pytest.raises(OnePasswordConnectSDKError, match=forbidden):
        client.update_item(item.id, vault, item)
    with pytest.raises(OnePasswordConnectSDKError, match=forbidden):
        client.delete_item(item.id, vault)
    assert client.get_item(item.id, vault) == before


def test_clients_from_the_environment(monkeypatch):
    client = new_client_from_environment()
    assert isinstance(client, Client)
    assert len(client.get_vaults()) == 2
    monkeypatch.setenv("OP_CONNECT_CLIENT_ASYNC", "True")
    assert isinstance(new_client_from_environment(), AsyncClient)
    monkeypatch.delenv("OP_CONNECT_CLIENT_ASYNC")

    host = os.environ["OP_CONNECT_HOST"]
    monkeypatch.delenv("OP_CONNECT_HOST")
    assert len(new_client_from_environment(host).get_vaults()) == 2
    with pytest.raises(EnvironmentHostNotSetException):
        new_client_from_environment()
    monkeypatch.delenv("OP_CONNECT_TOKEN")
    with pytest.raises(EnvironmentTokenNotSetException):
        new_client_from_environment(host)
