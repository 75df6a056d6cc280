// What the servers of the tests serve.
const assert = require("node:assert/strict");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

/** A temporary directory, and in it one of files for a directory vault: two good files, and a bad one. */
function sampleDirectory() {
  const files = fs.mkdtempSync(path.join(os.tmpdir(), "sidevault-ui-"));
  const directory = path.join(files, "platform");
  fs.mkdirSync(directory);
  fs.writeFileSync(path.join(directory, "grafana.yaml"), "username: admin\npassword: gr4fana\nurl: https://grafana.example\n");
  fs.writeFileSync(path.join(directory, "ingress-tls.yaml"), "certificate: abc\nkey: def\n");
  fs.writeFileSync(path.join(directory, "broken.yaml"), "a: [1\n");
  return { files, directory };
}

const itemField = (label, value, type = "CONCEALED") => ({ id: label, label, type, value });

/** The item `orders-database` in two versions, of which the password, a new and a removed field differ. */
async function ordersDatabase(server, vault, older, newer) {
  const base = { category: "DATABASE", tags: ["production", "postgres"], title: "orders-database", vault: { id: vault.id } };
  const fields = (password) => [itemField("username", "orders", "STRING"), itemField("password", password), itemField("hostname", "db.example", "STRING"),
    itemField("one-time code", "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&issuer=x", "OTP")];
  const item = await server.create("apps", { ...base, fields: [...fields(older), itemField("retired", "old")] });
  const put = await server.client("PUT", `/v1/vaults/${vault.id}/items/${item.id}`, { ...base, id: item.id, fields: [...fields(newer), itemField("port", "5432", "STRING")] });
  assert.equal(put.status, 200, await put.text());
  return { ...item, vault };
}

module.exports = { itemField, ordersDatabase, sampleDirectory };
