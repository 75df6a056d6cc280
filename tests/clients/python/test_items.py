import base64
import hashlib
import hmac
import re
import time

import pytest
from conftest import field
from onepasswordconnectsdk.errors import FailedToRetrieveItemException
from onepasswordconnectsdk.models import Field, FieldSection, GeneratorRecipe, Item, ItemUrls, ItemVault, Section

UNKNOWN = "z" * 26


def test_item_by_title_and_by_id(connect, secrets):
    item = connect.get_item("postgres-database", "secrets")
    assert (item.title, item.category, item.vault.id) == ("postgres-database", "LOGIN", secrets)
    assert field(item, "username").value == "app"
    assert field(item, "password").value == "s3cr3t-pg"
    assert field(item, "database").value == "orders"
    assert item.version >= 1 and item.last_edited_by and item.created_at and item.updated_at
    for again in [
        connect.get_item(item.id, "secrets"),
        connect.get_item(item.id, secrets),
        connect.get_item("postgres-database", secrets),
        connect.get_item_by_id(item.id, secrets),
        connect.get_item_by_title("postgres-database", secrets),
    ]:
        assert again == item


def test_item_with_a_section(connect, secrets):
    item = connect.get_item("api", secrets)
    assert item.category == "SECURE_NOTE"
    key = field(item, "key")
    assert key.value == "sk_test_1"
    assert {s.id: s.label for s in item.sections}[key.section.id] == "stripe"


def test_items_are_listed_whole_and_filtered(connect, secrets):
    listed = connect.get_items(secrets)
    assert {"postgres-database", "api", "blob.bin", "large.bin", "empty.bin"} <= {i.title for i in listed}
    assert all(i.vault.id == secrets for i in listed)
    assert [i.id for i in connect.get_items(secrets)] == [i.id for i in listed]
    assert [i.title for i in connect.get_items(secrets, 'title eq "api"')] == ["api"]
    assert [i.title for i in connect.get_items(secrets, 'title eq "nothing"')] == []


def test_filters_of_the_users_own(connect, create, login, apps):
    login.tags = ["suite-" + login.title[-12:], "two"]
    item = create(login)
    for query in [
        f'tag eq "{login.tags[0]}"',
        f'title co "{login.title[-12:]}"',
        f'title eq "{login.title}" and tag eq "two"',
        f'(title eq "nothing" or title eq "{login.title}")',
        f'name eq "{login.title}"',
    ]:
        assert [i.id for i in connect.get_items(apps, query)] == [item.id], query
    for broken in ['"', 'title eq "R', 'title', 'colour eq "red"']:
        with pytest.raises(FailedToRetrieveItemException, match="Received 400 "):
            connect.get_items(apps, broken)


@pytest.mark.parametrize("text", ['say "hi"', "back\\slash", "ends in \\", "grüße 🔑", "it's", "a=b", "50% {off}", "semi;colon"])
def test_titles_that_no_client_escapes(connect, create, login, apps, text):
    login.title += " " + text
    item = create(login)
    assert item.title == login.title
    assert connect.get_item(login.title, apps).id == item.id


def test_title_cut_by_the_client(connect, apps):
    # The client does not encode these two characters, so the server gets a truncated filter.
    for text in ["R&D", "C# notes"]:
        with pytest.raises(FailedToRetrieveItemException, match="Received 400 "):
            connect.get_item(text, apps)


def test_no_such_item(connect, apps, secrets):
    with pytest.raises(FailedToRetrieveItemException, match=rf"Received 404 .*item {UNKNOWN} not found"):
        connect.get_item(UNKNOWN, apps)
    with pytest.raises(FailedToRetrieveItemException, match="Found 0 items"):
        connect.get_item("no such item", apps)
    with pytest.raises(FailedToRetrieveItemException, match="Received 400 .*Invalid Item UUID"):
        connect.get_item_by_id("no such item", apps)
    elsewhere = connect.get_item("api", secrets).id
    with pytest.raises(FailedToRetrieveItemException, match=rf"Received 404 .*item {elsewhere} not found"):
        connect.get_item_by_id(elsewhere, apps)


def test_twins(connect, create, login, apps):
    first, second = create(login), create(login)
    with pytest.raises(FailedToRetrieveItemException, match="Found 2 items"):
        connect.get_item(login.title, apps)
    hits = connect.get_items(apps, f'title eq "{login.title}"')
    assert [i.id for i in hits] == [first.id, second.id]


def test_created_item_is_read_back_as_written(connect, create, login, apps):
    login.tags = ["b", "a"]
    login.favorite = True
    login.urls = [ItemUrls(href="https://one.test"), ItemUrls(href="https://two.test", primary=True)]
    login.sections = [Section(id="add more", label="More"), Section(id="empty", label="Empty")]
    login.fields += [
        Field(type="STRING", label="host", value="db.test", section=FieldSection(id="add more")),
        Field(type="string", label="lower-case type", value="x"),
        Field(type="EMAIL", label="mail", value="ada@one.test"),
        Field(purpose="NOTES", value="line 1\r\nline 2 \0 🔑"),
    ]
    created = create(login)
    assert created.version == 1
    got = connect.get_item(created.id, apps)
    for item in [created, got]:
        assert (item.title, item.category, item.favorite, item.tags) == (login.title, "LOGIN", True, ["b", "a"])
        assert [(u.href, bool(u.primary)) for u in item.urls] == [("https://one.test", False), ("https://two.test", True)]
        assert [(s.id, s.label) for s in item.sections] == [("add more", "More"), ("empty", "Empty")]
        assert [f.label for f in item.fields] == ["username", "password", "host", "lower-case type", "mail", "notesPlain"]
        assert [f.value for f in item.fields] == [f.value for f in login.fields]
        assert all(f.id for f in item.fields)
        assert field(item, "host").section.id == "add more"
        assert field(item, "username").section is None
        assert field(item, "lower-case type").type == "STRING"
        assert field(item, "password").entropy > 0


def test_item_without_a_vault_and_with_server_made_members(connect, create, login, apps):
    login.vault = None
    login.id = ""
    login.version = 7
    login.trashed = True
    item = create(login)
    assert item.vault.id == apps
    assert (item.version, len(item.id)) == (1, 26)


def test_refused_items(connect, login, apps):
    def refused(text, **changes):
        item = Item(**{"title": login.title, "vault": login.vault, "category": "LOGIN", "fields": [], **changes})
        with pytest.raises(FailedToRetrieveItemException, match=f"Received 400 .*{text}"):
            connect.create_item(apps, item)

    refused("Invalid item category", category="FOO")
    refused("", category=None)
    refused("", category="CUSTOM")
    refused("", category="DOCUMENT")
    refused("", vault=ItemVault(id=UNKNOWN))
    refused('You can only use one "password" field', fields=[Field(purpose="PASSWORD", value=v) for v in "ab"])
    refused("", fields=[Field(type="DATE", value="abc")])
    refused("", fields=[Field(id="same", value="a"), Field(id="same", value="b")])
    assert connect.get_items(apps, f'title eq "{login.title}"') == []


def test_generated_values(connect, create, login, apps):
    login.category = "DATABASE"
    login.fields = [
        Field(purpose="PASSWORD", type="CONCEALED", generate=True,
              recipe=GeneratorRecipe(length=24, character_sets=["LETTERS", "DIGITS"], exclude_characters="aB1")),
        Field(label="default", type="CONCEALED", generate=True),
    ]
    item = create(login)
    password = field(item, "password").value
    assert re.fullmatch("[A-Za-z0-9]{24}", password) and not set(password) & set("aB1")
    assert len(field(item, "default").value) == 32
    assert field(connect.get_item(item.id, apps), "password").value == password


def test_one_time_password_with_its_own_parameters(connect, create, login, apps):
    key = b"12345678901234567890123456789012"
    seed = base64.b32encode(key).decode().rstrip("=")
    login.fields.append(Field(type="OTP", label="one-time password",
                              value=f"otpauth://totp/test?secret={seed}&algorithm=SHA256&digits=8&period=60"))
    item = create(login)

    def code():
        mac = hmac.digest(key, (int(time.time()) // 60).to_bytes(8, "big"), hashlib.sha256)
        at = mac[-1] & 0xF
        return f"{(int.from_bytes(mac[at:at + 4], 'big') & 0x7FFFFFFF) % 10**8:08}"

    before = code()
    seen = field(connect.get_item(item.id, apps), "one-time password").totp
    assert seen in (before, code())


def test_update(connect, create, login, apps):
    created = create(login)
    item = connect.get_item(created.id, apps)
    item.title += " renamed"
    field(item, "password").value = "second"
    item.fields.append(Field(type="STRING", label="extra", value="x"))
    answer = connect.update_item(item.id, apps, item)
    # The response has the version from before the change; the next GET shows one more.
    assert answer.version == 1
    assert (answer.title, field(answer, "password").value) == (item.title, "second")
    got = connect.get_item(item.title, apps)
    assert got.version == 2
    assert (field(got, "password").value, field(got, "extra").value) == ("second", "x")
    assert got.created_at == created.created_at

    # An item that is sent back unchanged gets a new version and loses nothing.
    connect.update_item(got.id, apps, got)
    same = connect.get_item(got.id, apps)
    assert same.version == 3
    assert same.fields == got.fields

    same.fields = [f for f in same.fields if f.label != "extra"]
    connect.update_item(same.id, apps, same)
    assert "extra" not in [f.label for f in connect.get_item(same.id, apps).fields]


def test_update_by_id_alone_keeps_the_kind_of_a_field(connect, create, login, apps):
    item = create(login)
    changed = connect.get_item(item.id, apps)
    changed.fields = [Field(id="password", value="second")]
    changed.fields[0]._type = None  # The client fills in STRING otherwise.
    connect.update_item(item.id, apps, changed)
    kept = connect.get_item(item.id, apps).fields[0]
    assert (kept.type, kept.purpose, kept.label, kept.value) == ("CONCEALED", "PASSWORD", "password", "second")


def test_delete(connect, create, login, apps):
    item = create(login)
    assert connect.delete_item(item.id, apps) is None
    gone = rf"Received 404 .*item {item.id} not found"
    with pytest.raises(FailedToRetrieveItemException, match=gone):
        connect.get_item(item.id, apps)
    with pytest.raises(FailedToRetrieveItemException, match=gone):
        connect.delete_item(item.id, apps)
    with pytest.raises(FailedToRetrieveItemException, match=gone):
        connect.update_item(item.id, apps, item)
