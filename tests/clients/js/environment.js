// Shared by all test files: clients, unique titles, and items that are deleted after their test.
"use strict";

const assert = require("node:assert/strict");
const { randomBytes } = require("node:crypto");
const { OnePasswordConnect, ItemBuilder, ItemCategory, FieldType, FieldPurpose } = require("@1password/connect");

// A well-formed id of no vault and no item.
const UNKNOWN = "z".repeat(26);

function env(name) {
    const value = process.env[name];
    if (!value) throw new Error(`${name} is not set: this suite needs a running server`);
    return value;
}

const client = (token, options = {}) =>
    OnePasswordConnect({ serverURL: env("OP_CONNECT_HOST"), token, keepAlive: true, ...options });

// Read and write on apps, read on secrets.
const connect = client(env("OP_CONNECT_TOKEN"));
const readonly = client(env("SIDEVAULT_READONLY_TOKEN"));
const secretsOnly = client(env("SIDEVAULT_SECRETS_ONLY_TOKEN"));

const vaultId = async (title) => (await connect.getVaultByTitle(title)).id;

const unique = (title) => `${title} ${randomBytes(6).toString("hex")}`;

function login(title) {
    return new ItemBuilder()
        .setTitle(unique(title))
        .setCategory(ItemCategory.Login)
        .addField({ label: "username", value: "ada", purpose: FieldPurpose.Username })
        .addField({ label: "password", value: "first", type: FieldType.Concealed, purpose: FieldPurpose.Password });
}

// Makes the item in apps and deletes it when the test `t` ends.
async function create(t, item) {
    const apps = await vaultId("apps");
    const created = await connect.createItem(apps, item);
    t.after(async () => {
        try {
            await connect.deleteItemById(apps, created.id);
        } catch (error) {
            assert.equal(error.status, 404, `clean up of ${created.id}: ${error.message}`);
        }
    });
    return created;
}

function field(item, label) {
    const found = item.fields.filter((f) => f.label === label);
    assert.equal(found.length, 1, `${found.length} fields ${label}`);
    return found[0];
}

// The client rejects with the body of the response.
async function refused(promise, status, message) {
    await assert.rejects(promise, (error) => {
        assert.equal(error.status, status, error.message);
        if (message instanceof RegExp) assert.match(error.message, message);
        else assert.equal(error.message, message);
        return true;
    });
}

const FORBIDDEN = /^Authorization/;

module.exports = { UNKNOWN, FORBIDDEN, env, client, connect, readonly, secretsOnly, vaultId, unique, login, create, field, refused };
