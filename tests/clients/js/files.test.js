"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { UNKNOWN, FORBIDDEN, connect, secretsOnly, vaultId, refused } = require("./environment");

const DOCUMENTS = {
    "blob.bin": Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
    "large.bin": Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7) % 256)),
    "empty.bin": Buffer.alloc(0),
};

async function bytes(stream) {
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    return Buffer.concat(chunks);
}

for (const [name, want] of Object.entries(DOCUMENTS)) {
    test(`files: ${name}`, async () => {
        const secrets = await vaultId("secrets");
        const item = await connect.getItem(secrets, name);
        assert.equal(item.category, "DOCUMENT");
        const files = await connect.listFiles("secrets", name);
        assert.equal(files.length, 1);
        const [file] = files;
        assert.equal(file.name, name);
        assert.equal(file.size, want.length);
        assert.ok(file.content_path.startsWith("/v1/"));
        assert.equal(file.content, undefined);
        assert.deepEqual(await connect.listFiles(secrets, item.id), files);
        assert.deepEqual(await connect.getFileById("secrets", name, file.id), file);
        assert.deepEqual(await connect.getFileById(secrets, item.id, file.id), file);
        assert.equal(item.files[0].id, file.id);

        assert.ok((await bytes(await connect.getFileContentStream(secrets, item.id, file.id))).equals(want));
        // This call decodes each chunk as text, so only ASCII content is returned unchanged.
        const text = await connect.getFileContent("secrets", name, file.id);
        assert.equal(text.slice(0, 1), want.toString("latin1").slice(0, 1));
        if (name === "blob.bin") assert.equal(text.slice(0, 128), want.subarray(0, 128).toString("ascii"));
    });
}

test("an item without files", async () => {
    assert.deepEqual(await connect.listFiles("secrets", "api"), []);
});

// If the client asked for a stream, it rejects with the body as a stream.
async function refusedAsStream(promise, status, message) {
    const body = await promise.then(
        () => assert.fail("was answered"),
        async (stream) => JSON.parse(await bytes(stream)),
    );
    assert.equal(body.status, status);
    assert.match(body.message, message);
}

test("no such file", async () => {
    const gone = `file ${UNKNOWN} not found`;
    await refused(connect.getFileById("secrets", "blob.bin", UNKNOWN), 404, gone);
    await refusedAsStream(connect.getFileContent("secrets", "blob.bin", UNKNOWN), 404, new RegExp(gone));
    await refusedAsStream(connect.getFileContentStream("secrets", "blob.bin", UNKNOWN), 404, new RegExp(gone));
    await refused(connect.listFiles("secrets", UNKNOWN), 404, `item ${UNKNOWN} not found`);
    await refused(connect.listFiles("secrets", "no such item"), 404, /No Items found/);
    await refused(connect.listFiles("no such vault", "blob.bin"), 404, /No Vaults found/);
    await assert.rejects(connect.getFileById("secrets", "blob.bin", ""), /No fileId provided/);
    // The id of another item's file.
    const [other] = await connect.listFiles("secrets", "large.bin");
    await refused(connect.getFileById("secrets", "blob.bin", other.id), 404, /^file .* not found$/);
});

test("files of a foreign vault", async () => {
    const apps = await vaultId("apps");
    await refused(secretsOnly.listFiles(apps, UNKNOWN), 403, FORBIDDEN);
    await refused(secretsOnly.getFileById(apps, UNKNOWN, UNKNOWN), 403, FORBIDDEN);
    await refusedAsStream(secretsOnly.getFileContent(apps, UNKNOWN, UNKNOWN), 403, FORBIDDEN);
});
