"""`load` and `load_dict` exist for the blocking client only."""

import os

import pytest
from onepasswordconnectsdk import load, load_dict, new_client
from onepasswordconnectsdk.config import (
    InvalidFieldPathException,
    NoFieldTagSetForFieldException,
    NoVaultSetForFieldException,
    UnknownSectionAndFieldTag,
)
from onepasswordconnectsdk.errors import FailedToRetrieveItemException


@pytest.fixture(scope="module")
def client():
    return new_client(os.environ["OP_CONNECT_HOST"], os.environ["OP_CONNECT_TOKEN"])


@pytest.fixture
def vault(client, monkeypatch):
    vault = client.get_vault_by_title("secrets").id
    monkeypatch.setenv("OP_VAULT", vault)
    return vault


def test_load_dict(client, vault):
    assert load_dict(client, {
        "password": {"opitem": "postgres-database", "opfield": ".password"},
        "database": {"opitem": "postgres-database", "opfield": ".database"},
        "key": {"opitem": "api", "opfield": "stripe.key", "opvault": vault},
    }) == {"password": "s3cr3t-pg", "database": "orders", "key": "sk_test_1"}


def test_load_dict_with_the_vault_named_at_each_field(client):
    fields = {"password": {"opitem": "postgres-database", "opfield": ".password", "opvault": "secrets"}}
    assert load_dict(client, fields) == {"password": "s3cr3t-pg"}


def test_load_object(client, vault):
    class Config:
        user: 'opitem:"postgres-database" opfield:.username' = None
        key: "opitem:api opfield:stripe.key opvault:secrets" = None

    config = load(client, Config())
    assert (config.user, config.key) == ("app", "sk_test_1")


def test_what_cannot_be_loaded(client, monkeypatch):
    def one(**tags):
        return load_dict(client, {"value": tags})

    with pytest.raises(NoVaultSetForFieldException):
        one(opitem="api", opfield="stripe.key")
    monkeypatch.setenv("OP_VAULT", "secrets")
    with pytest.raises(NoFieldTagSetForFieldException):
        one(opitem="api")
    with pytest.raises(InvalidFieldPathException):
        one(opitem="api", opfield="key")
    with pytest.raises(UnknownSectionAndFieldTag):
        one(opitem="api", opfield="stripe.nothing")
    with pytest.raises(FailedToRetrieveItemException, match="Found 0 items"):
        one(opitem="nothing", opfield=".password")
    with pytest.raises(FailedToRetrieveItemException, match="Found 0 vaults"):
        one(opitem="api", opfield="stripe.key", opvault="nothing")
