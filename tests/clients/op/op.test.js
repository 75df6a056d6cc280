// 1Password's own wrapper. It takes any byte on standard error for a failure.
"use strict";

const assert = require("node:assert/strict");
const { execSync } = require("node:child_process");
const { test } = require("node:test");
const { document, inject, item, read, validateCli, vault, version, whoami } = require("@1password/op-js");

const inApps = { vault: "apps" };
const values = (fields) => fields.map((field) => field.value);

test("the version is accepted", async () => {
    await validateCli();
    assert.match(version(), /^2\./);
});

test("secrets are read, and injected through a socket", () => {
    assert.equal(read.parse("op://secrets/postgres-database/password"), "s3cr3t-pg");
    const text = inject.data("user: op://secrets/postgres-database/username\n");
    assert.equal(text, "user: app");
});

test("items are made, read, changed, listed and deleted", () => {
    const made = item.create(
        [["username", "text", "ann"], ["password", "password", "one"]],
        { category: "Login", title: "From op-js", ...inApps },
    );
    try {
        assert.deepEqual(values(item.get(made.id, { ...inApps, fields: { label: ["username", "password"] } })), ["ann", "one"]);
        const edited = item.edit(made.id, [["password", "password", "two"], ["code", "otp", "GEZDGNBVGY3TQOJQ"]], inApps);
        assert.ok(edited.fields.some((field) => field.value === "two" && field.reference === "op://apps/From op-js/password"));
        assert.match(item.otp(made.id, inApps), /^\d{6}$/);
        assert.ok(item.list(inApps).some((listed) => listed.id === made.id));
        assert.ok(item.list({ ...inApps, categories: ["Login"] }).some((listed) => listed.title === "From op-js"));
    } finally {
        item.delete(made.id, inApps);
    }
    assert.ok(!item.list(inApps).some((listed) => listed.id === made.id));
});

test("vaults and documents are found", () => {
    assert.ok(vault.list().some((listed) => listed.name === "apps"));
    assert.equal(vault.get("apps").name, "apps");
    assert.equal(document.get("empty.bin", { vault: "secrets" }), undefined);
    assert.equal(whoami().url, process.env.OP_CONNECT_HOST);
});

test("an error is one that op-js understands", () => {
    assert.throws(() => item.get("none", inApps), (error) => {
        assert.equal(error.message, '"none" isn\'t an item in the "apps" vault. Specify the item with its UUID, name, or domain.');
        return error.timestamp instanceof Date && error.status === 1;
    });
});

test("the calls of load-secrets-action", () => {
    const env = { ...process.env, DB_PASSWORD: "op://secrets/postgres-database/password", OTHER: "x" };
    const names = execSync('sh -c "op env ls"', { env, encoding: "utf8" }).trim().split("\n");
    assert.deepEqual(names, ["DB_PASSWORD"]);
    assert.equal(read.parse(env[names[0]]), "s3cr3t-pg");
});
