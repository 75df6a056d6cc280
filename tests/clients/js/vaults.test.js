"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { UNKNOWN, FORBIDDEN, env, client, connect, secretsOnly, vaultId, refused } = require("./environment");

test("vaults are those the token may read", async () => {
    assert.deepEqual((await connect.listVaults()).map((v) => v.name).sort(), ["apps", "secrets"]);
    assert.deepEqual((await secretsOnly.listVaults()).map((v) => v.name), ["secrets"]);
});

test("a vault by its title and by its id", async () => {
    const vault = await connect.getVault("secrets");
    assert.equal(vault.name, "secrets");
    assert.match(vault.id, /^[a-z2-7]{26}$/);
    assert.ok(vault.items >= 5);
    assert.equal(vault.type, "USER_CREATED");
    assert.ok(!Number.isNaN(vault.createdAt.getTime()));
    for (const same of [
        await connect.getVault(vault.id),
        await connect.getVaultById(vault.id),
        await connect.getVaultByTitle("secrets"),
        await connect.getVaultByTitle("SECRETS"),
        (await connect.listVaultsByTitle("secrets"))[0],
    ]) {
        assert.deepEqual(same, vault);
    }
});

test("no such vault", async () => {
    assert.deepEqual(await connect.listVaultsByTitle("no such vault"), []);
    await refused(connect.getVault("no such vault"), 404, /No Vaults found/);
    await refused(connect.getVaultByTitle("no such vault"), 404, /No Vaults found/);
    await assert.rejects(connect.getVault(""), /provide either the vault name or its ID/);
    await refused(connect.getVaultById("no such vault"), 400, "Invalid Vault UUID");
    // The response must not show whether a vault out of the token's scope exists.
    await refused(connect.getVaultById(UNKNOWN), 403, FORBIDDEN);
    await refused(secretsOnly.getVaultById(await vaultId("apps")), 403, FORBIDDEN);
    await refused(secretsOnly.getVault("apps"), 404, /No Vaults found/);
});

test("a title that the client cuts is a malformed filter", async () => {
    await refused(connect.listVaultsByTitle("R&D"), 400, /./);
});

test("server URL with a trailing slash, no keep-alive, own time-out", async () => {
    const other = client(env("OP_CONNECT_TOKEN"), { serverURL: env("OP_CONNECT_HOST") + "/", keepAlive: false, timeout: 4000 });
    assert.equal((await other.listVaults()).length, 2);
});
