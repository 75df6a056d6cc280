import os

import pytest
from onepasswordconnectsdk.config import ClientConfig
from onepasswordconnectsdk.errors import FailedToRetrieveItemException, FailedToRetrieveVaultException

UNKNOWN = "z" * 26


def test_vaults_are_those_the_token_may_read(connect, secrets_only):
    assert sorted(v.name for v in connect.get_vaults()) == ["apps", "secrets"]
    assert [v.name for v in secrets_only.get_vaults()] == ["secrets"]


def test_vault_by_id_and_by_title(connect):
    by_title = connect.get_vault_by_title("secrets")
    by_id = connect.get_vault(by_title.id)
    assert by_id == by_title
    assert len(by_id.id) == 26
    assert by_id.name == "secrets"
    assert by_id.items >= 5
    assert by_id.attribute_version >= 1 and by_id.content_version >= 1
    # The client refuses every other type.
    assert by_id.type in ("USER_CREATED", "PERSONAL", "EVERYONE", "TRANSFER")
    assert by_id.created_at.utcoffset().total_seconds() == 0
    assert by_id.updated_at >= by_id.created_at


def test_vault_names_match_without_regard_to_case(connect):
    assert connect.get_vault_by_title("Secrets").name == "secrets"


def test_no_such_vault(connect):
    with pytest.raises(FailedToRetrieveItemException, match="Found 0 vaults"):
        connect.get_vault_by_title("no such vault")
    with pytest.raises(FailedToRetrieveItemException, match="Found 0 vaults"):
        connect.get_item("api", "no such vault")
    # The response must not show whether a vault out of the token's scope exists.
    with pytest.raises(FailedToRetrieveVaultException, match="Received 403 .*Authorization"):
        connect.get_vault(UNKNOWN)
    with pytest.raises(FailedToRetrieveVaultException, match="Received 400 .*Invalid Vault UUID"):
        connect.get_vault("no such vault")


def test_foreign_vault(secrets_only, apps):
    with pytest.raises(FailedToRetrieveVaultException, match="Received 403 .*message Authorization"):
        secrets_only.get_vault(apps)
    with pytest.raises(FailedToRetrieveItemException, match="Found 0 vaults"):
        secrets_only.get_vault_by_title("apps")


def test_own_http_options(connect_with):
    client = connect_with(os.environ["OP_CONNECT_TOKEN"], config=ClientConfig(timeout=4.0, follow_redirects=False))
    assert len(client.get_vaults()) == 2


def test_host_with_a_trailing_slash(connect_with):
    client = connect_with(os.environ["OP_CONNECT_TOKEN"], url=os.environ["OP_CONNECT_HOST"] + "/")
    assert len(client.get_vaults()) == 2
