// How the page looks, in light and dark, on a phone and in 200 % zoom; what axe says of it; and the pictures in docs/.
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { after, before, test } = require("node:test");
const { browser, quickstart, signedIn, stopAll, until } = require("./server.js");
const { differs } = require("./pictures.js");
const { itemField, ordersDatabase, sampleDirectory } = require("./sample.js");

const axeSource = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
/** Where the pictures of docs/ go, and where whole pictures go to be looked at. */
const docs = path.join(__dirname, "..", "..", "docs"), shots = process.env.SIDEVAULT_SCREENSHOTS;
let chrome, server, files, vault, item;

before(async () => {
  const sample = sampleDirectory();
  files = sample.files;
  chrome = await browser();
  server = await quickstart("--vault", "apps", "--dir", sample.directory);
  [vault] = server.vaults.filter((known) => known.name === "apps");
  item = await ordersDatabase(server, vault, "before", "after");
  for (const [title, tags] of [["billing-api-key", ["billing"]], ["smtp-relay", ["mail"]], ["signing-key", ["production", "release"]], ["web-analytics", []], ["vpn-gateway", ["network"]]]) {
    await server.create("apps", { title, category: "API_CREDENTIAL", tags, vault: { id: vault.id }, fields: [itemField("credential", "x")] });
  }
  const used = server.makeToken("external-secrets", "--vault", "apps=read");
  assert.equal((await server.client("GET", `/v1/vaults/${vault.id}/items/${item.id}`, undefined, used)).status, 200);
  server.makeToken("deploy", "--vault", "apps=read,write", "--expires", "90d");
  await until(async () => (await (await server.client("GET", "/v1/activity")).json()).some((record) => record.actor.account === "external-secrets"), "the record of the read");
});

after(async () => {
  await chrome?.close();
  await stopAll();
  fs.rmSync(files, { recursive: true, force: true });
});

/** Twelve hours of a server, for the picture of the plots. */
function history() {
  const slots = 360, wave = (n, size, base) => Math.max(0, Math.round(base + size * Math.sin(n / 40) + (size / 4) * Math.sin(n * 2.3)));
  const of = (value) => Array.from({ length: slots }, (_, n) => value(n));
  return {
    slotSeconds: 120, newestSeconds: 100,
    requests: { count: of((n) => wave(n, 900, 1500)), failed: of((n) => (n > 200 && n < 215 ? 90 : 0)), medianMs: of((n) => wave(n, 20, 90) / 100), p95Ms: of((n) => wave(n, 90, 320) / 100) },
    sources: [{ name: "platform", ageSeconds: of((n) => (n > 240 && n < 270 ? (n - 240) * 120 : 15 + (n % 5) * 4)), reads: of((n) => (n > 240 && n < 270 ? 0 : 4)), failures: of((n) => (n > 240 && n < 270 ? 4 : 0)) }],
  };
}

/** The views, with what they wait for and what is done there before the picture. */
const views = () => [
  ["sources", "#/sources", ".card"],
  ["vaults", "#/vaults", ".card"],
  ["items", `#/vaults/${vault.id}`, ".row"],
  ["item", `#/vaults/${vault.id}/items/${item.id}`, ".field", async (page) => {
    await page.getByRole("button", { name: "Compare version 2 with version 1" }).click();
    await page.locator("#diff tbody tr").first().waitFor();
  }],
  ["new", `#/vaults/${vault.id}/new`, ".edit-field", async (page) => {
    await page.getByLabel("Title").fill("mail-gateway");
    await page.getByLabel("Value", { exact: true }).first().fill("postmaster");
    await page.getByLabel(/The server generates/).last().check();
  }],
  ["edit", `#/vaults/${vault.id}/items/${item.id}`, ".field", async (page) => {
    await page.getByRole("button", { name: "Edit" }).click();
    await page.locator(".edit-field").first().waitFor();
    await page.getByRole("button", { name: "Remove hostname" }).click();
  }],
  ["activity", "#/activity", "tbody tr"],
  ["history", "#/history", ".source-plots", async (page) => { await page.locator("summary").last().click(); }],
  ["tokens", "#/tokens", "tbody tr"],
];

for (const [form, colorScheme, width, height, ratio] of [["light", "light", 1200, 800, 1], ["dark", "dark", 1200, 800, 1], ["phone", "light", 390, 844, 2], ["dark phone", "dark", 390, 844, 2], ["200 % zoom", "light", 640, 400, 2]]) {
  test(`${form}: axe finds nothing, the page is not wider than the window, and looks as expected`, async () => {
    const page = await signedIn(chrome, server.url, { colorScheme, viewport: { width, height }, deviceScaleFactor: ratio, bypassCSP: true }, server.token);
    await page.route("**/v1/history", (route) => route.fulfill({ json: history() }));
    const problems = [];
    const look = async (name) => {
      await page.evaluate(() => { scrollTo(0, 0); document.activeElement?.blur(); });
      const picture = await page.screenshot();
      const file = `${name}-${form.replaceAll(/\W+/g, "-")}`;
      if (shots) fs.writeFileSync(path.join(shots, `${file}.png`), picture);
      if (process.env.SIDEVAULT_PICTURES === "update" && ["item-light", "history-light", "edit-dark"].includes(file)) fs.writeFileSync(path.join(docs, `ui-${name}.png`), picture);
      problems.push(differs(file, picture, ratio));
      await page.evaluate(axeSource);
      const { violations } = await page.evaluate(() => axe.run());
      problems.push(...violations.map((found) => `${file}: axe: ${found.id}: ${found.nodes.map((node) => node.html).join(" ")}`));
      if (!(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth))) problems.push(`${file} is wider than ${width} px`);
    };
    for (const [name, hash, ready, prepare] of views()) {
      await page.evaluate((to) => {
        document.querySelector("main > section").dataset.before = "";
        location.hash = to;
      }, hash);
      const discard = page.getByRole("dialog").getByRole("button", { name: "Discard" });
      const there = page.locator(`main > section:not([data-before]) ${ready}`).first();
      await there.or(discard).first().waitFor();
      if (await discard.count()) await discard.click();
      await there.waitFor();
      await prepare?.(page);
      await look(name);
    }
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("button", { name: "Open" }).waitFor();
    await look("door");
    assert.deepEqual(problems.filter(Boolean), []);
    await page.context().close();
  });
}
