import pytest
from onepasswordconnectsdk.errors import FailedToRetrieveItemException

UNKNOWN = "z" * 26
DOCUMENTS = {
    "blob.bin": bytes(range(256)),
    "large.bin": bytes(i * 7 % 256 for i in range(300_000)),
    "empty.bin": b"",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files(connect, secrets, tmp_path, name):
    want = DOCUMENTS[name]
    item = connect.get_item(name, secrets)
    assert item.category == "DOCUMENT"
    (listed,) = connect.get_files(item.id, secrets)
    assert (listed.name, listed.size) == (name, len(want))
    assert listed.content_path.startswith("/v1/")
    file = connect.get_file(listed.id, item.id, secrets)
    assert (file.id, file.name, file.size, file.content_path) == (listed.id, name, len(want), listed.content_path)

    assert connect.get_file_content(file.id, item.id, secrets) == want
    assert connect.get_file_content(file.id, item.id, secrets, file.content_path) == want

    connect.download_file(file.id, item.id, secrets, str(tmp_path))
    assert (tmp_path / name).read_bytes() == want


def test_item_without_files(connect, secrets):
    assert connect.get_files(connect.get_item("api", secrets).id, secrets) == []


def test_no_such_file(connect, secrets, tmp_path):
    item = connect.get_item("blob.bin", secrets).id
    gone = rf"Received 404 .*file {UNKNOWN} not found"
    with pytest.raises(FailedToRetrieveItemException, match=gone):
        connect.get_file(UNKNOWN, item, secrets)
    with pytest.raises(FailedToRetrieveItemException, match=gone):
        connect.get_file_content(UNKNOWN, item, secrets)
    with pytest.raises(FailedToRetrieveItemException, match=gone):
        connect.download_file(UNKNOWN, item, secrets, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FailedToRetrieveItemException, match=rf"Received 404 .*item {UNKNOWN} not found"):
        connect.get_files(UNKNOWN, secrets)
    # The id of another item's file.
    other = connect.get_files(connect.get_item("large.bin", secrets).id, secrets)[0].id
    with pytest.raises(FailedToRetrieveItemException, match="Received 404 "):
        connect.get_file_content(other, item, secrets)


def test_files_of_a_foreign_vault(secrets_only, apps):
    for call in [
        lambda: secrets_only.get_files(UNKNOWN, apps),
        lambda: secrets_only.get_file(UNKNOWN, UNKNOWN, apps),
        lambda: secrets_only.get_file_content(UNKNOWN, UNKNOWN, apps),
    ]:
        with pytest.raises(FailedToRetrieveItemException, match="Received 403 .*message: Authorization"):
            call()
