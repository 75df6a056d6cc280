"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { UNKNOWN, FORBIDDEN, env, client, connect, readonly, secretsOnly, vaultId, login, create, refused } = require("./environment");

// Changes one character in the middle of the signature, so that the token stays well-formed.
function otherSignature() {
    const token = env("OP_CONNECT_TOKEN");
    const at = token.lastIndexOf(".") + 20;
    return token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
}

// Each kind of request of the client that is answered with JSON.
const everyCall = (connect, vault, item) => ({
    listItems: () => connect.listItems(vault),
    listItemsByTitle: () => connect.listItemsByTitle(vault, "x"),
    listItemsByTitleContains: () => connect.listItemsByTitleContains(vault, "x"),
    getVaultById: () => connect.getVaultById(vault),
    getItemById: () => connect.getItemById(vault, item.id),
    getItemByTitle: () => connect.getItemByTitle(vault, "x"),
    getItemOTP: () => connect.getItemOTP(vault, item.id),
    createItem: () => connect.createItem(vault, { ...item, id: undefined }),
    updateItem: () => connect.updateItem(vault, item),
    deleteItemById: () => connect.deleteItemById(vault, item.id),
    deleteItemByTitle: () => connect.deleteItemByTitle(vault, "x"),
    listFiles: () => connect.listFiles(vault, item.id),
    getFileById: () => connect.getFileById(vault, item.id, UNKNOWN),
});

test("tokens that do not hold", async () => {
    const apps = await vaultId("apps");
    const item = { ...login("x").build(), id: UNKNOWN, vault: { id: apps } };
    for (const [token, message] of [
        ["nonsense", "Invalid bearer token"],
        [env("OP_CONNECT_TOKEN").slice(0, 83), "Invalid bearer token"],
        [env("SIDEVAULT_EXPIRED_TOKEN"), "Invalid bearer token"],
        [otherSignature(), "Invalid token signature"],
    ]) {
        const bad = client(token);
        await refused(bad.listVaults(), 401, message);
        await refused(bad.listVaultsByTitle("apps"), 401, message);
        for (const call of Object.values(everyCall(bad, apps, item))) {
            await refused(call(), 401, message);
        }
    }
});

test("a foreign vault is forbidden in every call", async (t) => {
    const item = await create(t, login("foreign").build());
    for (const call of Object.values(everyCall(secretsOnly, item.vault.id, item))) await refused(call(), 403, FORBIDDEN);
    assert.equal((await connect.getItem(item.vault.id, item.id)).version, 1);
});

async function writesAreForbidden(connect, item) {
    const vault = item.vault.id;
    await refused(connect.createItem(vault, login("new").build()), 403, FORBIDDEN);
    await refused(connect.updateItem(vault, { ...item, title: "changed" }), 403, FORBIDDEN);
    await refused(connect.deleteItem(vault, item.id), 403, FORBIDDEN);
    await refused(connect.deleteItemByTitle(vault, item.title), 403, FORBIDDEN);
    assert.deepEqual(await connect.getItemById(vault, item.id), item);
}

test("a read-only token refuses writes", async (t) => {
    const item = await create(t, login("read-only").build());
    await writesAreForbidden(readonly, await readonly.getItem(item.vault.id, item.id));
});

test("a read-only vault refuses writes", async () => {
    await writesAreForbidden(connect, await connect.getItem(await vaultId("secrets"), "api"));
});

test("the client wants a server and a token", () => {
    assert.throws(() => client(""), /serverURL and token are required/);
});
