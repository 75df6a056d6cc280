// What a person sees and does on the page, in a real browser.
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { after, before, test } = require("node:test");
const { browser, pair, quickstart, signedIn, stopAll, until, watched } = require("./server.js");
const hostile = require("./hostile.js");
const { itemField, ordersDatabase, sampleDirectory } = require("./sample.js");

const SECRET = "s3cr3t-before-7Qx", NEWER = "s3cr3t-after-9Zk";
const ITEMS = Number(process.env.SIDEVAULT_PAGE_ITEMS ?? 1000);
let chrome, server, item, files;

before(async () => {
  const sample = sampleDirectory();
  files = sample.files;
  chrome = await browser();
  server = await quickstart("--vault", "apps", "--vault", "hostile", "--vault", "many", "--dir", sample.directory);
  const [apps] = server.vaults.filter((vault) => vault.name === "apps");
  item = await ordersDatabase(server, apps, SECRET, NEWER);
  for (const title of ["billing-api-key", "smtp-relay", "signing-key"]) {
    await server.create("apps", { title, category: "API_CREDENTIAL", tags: ["billing"], vault: { id: apps.id }, fields: [itemField("credential", "x")] });
  }
});

after(async () => {
  await chrome?.close();
  await stopAll();
  fs.rmSync(files, { recursive: true, force: true });
});

/** A page that is signed in with the server's token. */
const opened = (options, token, hash) => signedIn(chrome, server.url, options, token ?? server.token, hash);

async function atItem(page) {
  await page.evaluate(([vault, id]) => { location.hash = `#/vaults/${vault}/items/${id}`; }, [item.vault.id, item.id]);
  await page.getByRole("heading", { name: "orders-database" }).waitFor();
}

const reads = async () => (await (await server.client("GET", "/v1/activity?limit=1000")).json()).filter((r) => r.resource.item?.id === item.id && r.action === "READ").length;

test("the address that quickstart prints opens the page once, and the code is nowhere afterwards", async () => {
  const context = await chrome.newContext();
  const page = await watched(context, server.url);
  await page.goto(server.page);
  await page.getByRole("heading", { name: "Sources" }).waitFor();
  await page.getByText("broken.yaml").waitFor();
  const code = server.page.split("#code=")[1];
  assert.ok(code.length >= 43);
  assert.ok(!page.url().includes(code));
  assert.ok(page.requests.every((url) => !url.includes(code)));
  assert.equal(await page.evaluate(() => history.length), 2);
  assert.ok(!server.child.log.includes(code), "the code is in the log");
  assert.ok(!server.child.log.includes(server.token), "the token is in the log");
  assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]), [0, 0, ""]);
  assert.deepEqual(page.faults, []);
  // The whole first visit, within a budget.
  const bytes = await page.evaluate(() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
    .filter((entry) => new URL(entry.name).pathname.startsWith("/ui")).map((entry) => [entry.encodedBodySize, entry.decodedBodySize]));
  assert.ok(bytes.reduce((sum, [, size]) => sum + size, 0) <= 150_000, JSON.stringify(bytes));
  // Files that do not come from the server are not compressed.
  if (!process.env.SIDEVAULT_PAGE_FILES) assert.ok(bytes.reduce((sum, [size]) => sum + size, 0) <= 40_000, JSON.stringify(bytes));
  assert.ok(page.requests.length <= 20, page.requests.join("\n"));
  // Reloading forgets the token. The code works only once, in another tab, too.
  await page.reload();
  await page.getByLabel("Token", { exact: true }).waitFor();
  const second = await context.newPage();
  await second.goto(server.page);
  await second.getByText("used already").waitFor();
  await context.close();
});

test("the responses have the headers that protect the page and the data", async () => {
  const page = await (await fetch(`${server.url}/ui/`)).headers;
  assert.match(page.get("content-security-policy"), /^default-src 'none'; script-src 'self'; .*frame-ancestors 'none'.*require-trusted-types-for 'script'/);
  for (const [name, value] of [["x-content-type-options", "nosniff"], ["referrer-policy", "no-referrer"], ["cross-origin-opener-policy", "same-origin"], ["cross-origin-resource-policy", "same-origin"]]) {
    assert.equal(page.get(name), value);
  }
  assert.equal(page.get("set-cookie"), null);
  const again = await fetch(`${server.url}/ui/app.js`, { headers: { "If-None-Match": (await fetch(`${server.url}/ui/app.js`)).headers.get("etag") } });
  assert.equal(again.status, 304);
  const data = await fetch(`${server.url}/v1/vaults`, { headers: { Authorization: `Bearer ${server.token}`, "Sec-Fetch-Site": "same-origin" } });
  assert.equal(data.headers.get("cache-control"), "no-store");
  const elsewhere = await fetch(`${server.url}/ui/session`, { method: "POST", headers: { "Sec-Fetch-Site": "cross-site" }, body: '{"code":"x"}' });
  assert.equal(elsewhere.status, 403);
  const large = await fetch(`${server.url}/ui/session`, { method: "POST", body: JSON.stringify({ code: "x".repeat(1000) }) });
  assert.equal(large.status, 413);
});

test("search finds titles and tags, with the keyboard alone", async () => {
  const page = await opened();
  await page.getByRole("link", { name: "Vaults" }).press("Enter");
  // The sources, too, have a link of this name.
  await page.getByRole("heading", { name: "Vaults" }).waitFor();
  await page.getByRole("link", { name: "apps" }).press("Enter");
  const search = page.getByLabel("Search titles and tags");
  await search.fill("billing smtp");
  assert.equal(await page.getByRole("listitem").count(), 1);
  await search.fill("nothing like this");
  await page.getByText("No title or tag has this text.").waitFor();
  await search.fill("ORDERS");
  await search.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "orders-database" }).waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a link keeps the focus when its list is drawn again", async () => {
  for (const part of ["sources", "vaults", "activity"]) {
    const page = await opened({}, server.token, `#/${part}`);
    const link = page.locator("main").getByRole("link", { name: "apps" }).first();
    await link.focus();
    const address = await link.getAttribute("href");
    await page.evaluate(() => { document.querySelector("main a:focus").isOld = true; });
    const list = page.locator("main ul, main tbody").first();
    const before = await list.textContent();
    await server.create("apps", { title: `noticed in ${part}`, category: "LOGIN", vault: { id: item.vault.id }, fields: [] });
    await until(async () => (await list.textContent()) !== before, "the list with the new item");
    await until(() => page.evaluate(() => !document.querySelector("main a:focus")?.isOld), "the new element");
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("href")), address, part);
    assert.deepEqual(page.faults, []);
    await page.context().close();
  }
});

test("a value is shown after one recorded request, and taken away after 30 seconds", async () => {
  const context = await chrome.newContext();
  const page = await watched(context, server.url);
  await page.clock.install();
  await page.goto(`${server.url}/ui`);
  await page.getByLabel("Token", { exact: true }).fill(server.token);
  await page.getByRole("button", { name: "Open" }).click();
  await page.getByRole("navigation").waitFor();
  await atItem(page);
  assert.ok(!(await page.content()).includes(NEWER));
  const before = await until(async () => { const n = await reads(); return n >= 0 ? { n } : null; });
  const asked = page.requests.length;
  await page.getByRole("button", { name: "Reveal password" }).click();
  await page.getByText(NEWER).waitFor();
  assert.equal(page.requests.slice(asked).filter((url) => url.endsWith(`/items/${item.id}`)).length, 1);
  assert.ok(!(await page.content()).includes("JBSWY3DP"), "other values are not in the page");
  await until(async () => (await reads()) === before.n + 1, "the record of the read");
  await page.clock.fastForward(31_000);
  await page.getByRole("button", { name: "Reveal password" }).waitFor();
  assert.ok(!(await page.content()).includes(NEWER));
  await page.getByRole("button", { name: /one-time code/ }).click();
  assert.match(await page.locator(".value.code").textContent(), /^\d{6}$/);
  assert.match(await page.locator(".countdown").textContent(), /^\d{1,2} s$/);
  assert.ok(!(await page.content()).includes("JBSWY3DP"));
  assert.ok(!page.url().includes(NEWER));
  assert.deepEqual(page.faults, []);
  await context.close();
});

test("versions are compared by label, and an older one is restored", async () => {
  const page = await opened();
  await atItem(page);
  await page.getByRole("button", { name: "Compare version 2 with version 1" }).click();
  const rows = page.locator("#diff tbody tr");
  await rows.first().waitFor();
  const shown = (await rows.allTextContents()).map((row) => row.replace(/[•–]/g, ""));
  assert.deepEqual(shown, ["passwordchanged", "portadded", "retiredgone"]);
  assert.ok(!(await page.content()).includes(SECRET));
  await page.getByRole("button", { name: "Reveal both versions" }).click();
  await page.getByText(SECRET).waitFor();
  await page.getByText(NEWER).waitFor();
  await page.getByRole("button", { name: "Restore version 1" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Restore" }).click();
  await page.getByText("version 3", { exact: true }).first().waitFor();
  assert.ok(!(await page.content()).includes(SECRET));
  const now = await (await server.client("GET", `/v1/vaults/${item.vault.id}/items/${item.id}`)).json();
  assert.equal(now.fields.find((field) => field.label === "password").value, SECRET);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a token that may only read sees no restore, and the vaults of others are not there", async () => {
  const page = await opened({}, server.makeToken("reader", "--vault", "apps=read"));
  await atItem(page);
  assert.equal(await page.getByRole("button", { name: /Restore|Edit|Delete/ }).count(), 0);
  await page.evaluate((vault) => { location.hash = `#/vaults/${vault}`; }, item.vault.id);
  await page.getByText("orders-database").waitFor();
  assert.equal(await page.getByRole("link", { name: "New item" }).count(), 0);
  await page.getByRole("link", { name: "Vaults", exact: true }).click();
  await page.getByRole("link", { name: "apps" }).waitFor();
  assert.equal(await page.locator(".card").count(), 1);
  // Nor does one that may write see them in a vault that a source makes.
  const writer = await opened();
  await writer.evaluate((vault) => { location.hash = `#/vaults/${vault}`; }, server.vaults.find((vault) => vault.name === "platform").id);
  await writer.getByText("grafana", { exact: true }).click();
  await writer.getByRole("heading", { name: "Versions" }).waitFor();
  assert.equal(await writer.getByRole("button", { name: /Restore|Edit|Delete/ }).count(), 0);
  await Promise.all([page.context().close(), writer.context().close()]);
});

/** The item with this title, with its values. */
async function stored(title) {
  const list = await (await server.client("GET", `/v1/vaults/${item.vault.id}/items?filter=${encodeURIComponent(`title eq "${title}"`)}`)).json();
  return list.length ? (await server.client("GET", `/v1/vaults/${item.vault.id}/items/${list[0].id}`)).json() : null;
}

const field = (page, legend) => page.getByRole("group", { name: legend, exact: true });

test("an item is made with the keyboard alone, with a password by a recipe", async () => {
  const page = await opened();
  await page.getByRole("link", { name: "Vaults" }).press("Enter");
  await page.getByRole("link", { name: "apps" }).press("Enter");
  await page.getByRole("link", { name: "New item" }).press("Enter");
  await page.getByLabel("Title").waitFor();
  await page.waitForFunction(() => document.activeElement?.matches("main input"));
  await page.keyboard.type("made-on-the-page");
  await page.getByLabel("Category").press("P");
  assert.equal(await page.getByLabel("Category").inputValue(), "PASSWORD");
  await page.getByLabel("Category").selectOption("LOGIN");
  await page.getByLabel("Tags").focus();
  await page.keyboard.type("one\ntwo words");
  await field(page, "username").getByLabel("Value", { exact: true }).focus();
  await page.keyboard.type("somebody");
  const generate = field(page, "password").getByLabel(/The server generates/);
  await generate.press("Space");
  await field(page, "password").getByLabel("Length").fill("21");
  for (const set of ["Letters", "Symbols"]) await field(page, "password").getByLabel(set).press("Space");
  await field(page, "password").getByLabel("Without these characters").fill("01");
  await page.getByRole("button", { name: "Add a field" }).press("Enter");
  await page.keyboard.type("note");
  await field(page, "note").getByLabel("Section").fill("More");
  await field(page, "note").getByLabel("Value", { exact: true }).fill("first line\nsecond line");
  await page.getByRole("button", { name: "Create" }).press("Enter");
  await page.getByRole("heading", { name: "made-on-the-page" }).waitFor();
  const made = await stored("made-on-the-page");
  const value = (label) => made.fields.find((one) => one.label === label).value;
  assert.deepEqual([made.category, made.tags, value("username"), value("note")], ["LOGIN", ["one", "two words"], "somebody", "first line\nsecond line"]);
  assert.match(value("password"), /^[2-9]{21}$/);
  assert.equal(made.sections.find((section) => section.label === "More").id, made.fields.find((one) => one.label === "note").section.id);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("an edit is one recorded read, keeps what it does not touch, and asks before it is thrown away", async () => {
  const value = "line one\r\nline two\r\n", seed = "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&issuer=x";
  const made = await server.create("apps", { title: "to-edit", category: "DATABASE", favorite: true, tags: ["a,b"], vault: { id: item.vault.id },
    urls: [{ href: "https://one.example", label: "first", primary: true }], sections: [{ id: "s1", label: "Place" }],
    fields: [{ id: "u", label: "user", type: "STRING", purpose: "USERNAME", value: "me" }, { id: "k", label: "key", type: "CONCEALED", value, section: { id: "s1" } },
      { id: "o", label: "code", type: "OTP", value: seed }, { id: "g", label: "going", type: "STRING", value: "x" }] });
  const page = await opened();
  await page.evaluate(([vault, id]) => { location.hash = `#/vaults/${vault}/items/${id}`; }, [item.vault.id, made.id]);
  await page.getByRole("heading", { name: "to-edit" }).waitFor();
  const recorded = async () => (await (await server.client("GET", "/v1/activity?limit=1000")).json()).filter((r) => r.resource.item?.id === made.id && r.action === "READ").length;
  assert.equal(await recorded(), 0);
  assert.ok(!(await page.content()).includes("line one"));
  await page.getByRole("button", { name: "Edit" }).press("Enter");
  await page.getByLabel("Title").waitFor();
  assert.ok(await page.evaluate(() => document.activeElement.matches("input")));
  await until(async () => (await recorded()) === 1, "the record of the read");
  const key = field(page, "key").getByLabel("Value", { exact: true });
  assert.ok(await key.evaluate((box) => box.matches(".masked")));
  await page.getByRole("button", { name: "Show the value of key" }).press("Space");
  assert.ok(!(await key.evaluate((box) => box.matches(".masked"))));
  await field(page, "user").getByLabel("Value", { exact: true }).fill("someone else");
  await page.getByRole("link", { name: "Activity" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Keep editing" }).click();
  assert.equal(await field(page, "user").getByLabel("Value", { exact: true }).inputValue(), "someone else");
  await page.getByRole("button", { name: "Remove going" }).click();
  assert.ok(await field(page, "code").getByLabel("Label").evaluate((box) => box === document.activeElement));
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("version 2", { exact: true }).first().waitFor();
  const now = await stored("to-edit");
  assert.deepEqual(now.fields.map((one) => [one.label, one.type, one.purpose, one.value, one.section?.id]),
    [["user", "STRING", "USERNAME", "someone else", undefined], ["key", "CONCEALED", undefined, value, "s1"], ["code", "OTP", undefined, seed, undefined]]);
  assert.deepEqual([now.favorite, now.tags, now.urls], [true, ["a,b"], made.urls]);
  assert.ok(!(await page.content()).includes("line one"), "the values are gone after the edit");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a save of another version is named, and neither change is lost", async () => {
  const body = (first, second, title = "contested") => ({ title, category: "DATABASE", vault: { id: item.vault.id },
    fields: [{ id: "one", label: "one", type: "STRING", value: first }, { id: "two", label: "two", type: "CONCEALED", value: second }] });
  const made = await server.create("apps", body("a", "b"));
  const url = `/v1/vaults/${item.vault.id}/items/${made.id}`;
  const page = await opened();
  const edit = async () => {
    await page.getByRole("button", { name: "Edit" }).click();
    await field(page, "one").getByLabel("Value", { exact: true }).fill("mine");
  };
  await page.evaluate((hash) => { location.hash = hash; }, `#/vaults/${item.vault.id}/items/${made.id}`);
  await edit();
  // The server's events are late, so that only the save meets the other version.
  await server.client("PUT", url, { ...body("a", "theirs"), id: made.id });
  await page.getByRole("button", { name: "Save", exact: true }).click();
  const problem = page.locator(".problem");
  await problem.getByText("Version 2 was saved meanwhile").waitFor();
  assert.match(await problem.textContent(), /by the token .*two \(changed\)/s);
  assert.equal(await field(page, "one").getByLabel("Value", { exact: true }).inputValue(), "mine");
  assert.equal((await stored("contested")).version, 2);
  await problem.getByRole("button", { name: "Save mine on top" }).click();
  await page.getByText("version 3", { exact: true }).first().waitFor();
  assert.deepEqual((await stored("contested")).fields.map((one) => one.value), ["mine", "b"]);
  const second = await (await server.client("GET", `${url}?version=2`)).json();
  assert.equal(second.fields[1].value, "theirs");
  // A form that is only open says so by itself.
  await edit();
  await server.client("PUT", url, { ...body("a", "again"), id: made.id });
  await problem.getByText("Version 4 was saved meanwhile").waitFor();
  await problem.getByRole("button", { name: "Discard mine, show version 4" }).click();
  await page.getByText("version 4", { exact: true }).first().waitFor();
  await edit();
  await server.client("DELETE", url);
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await problem.getByRole("button", { name: "Save as a new item" }).click();
  await page.getByRole("heading", { name: "contested" }).waitFor();
  await until(async () => (await stored("contested"))?.fields[0].value === "mine", "the new item");
  // The browser itself notes the refused writes in its console.
  assert.deepEqual(page.faults.filter((fault) => !/status of (412|404)/.test(fault)), []);
  await page.context().close();
});

test("an item is deleted only when its title is typed", async () => {
  await server.create("apps", { title: "to  delete <b>", category: "LOGIN", vault: { id: item.vault.id }, fields: [{ label: "<img src=x onerror=alert(1)>\u202e", value: "v" }] });
  const { id } = await stored("to  delete <b>");
  const page = await opened();
  await page.evaluate((hash) => { location.hash = hash; }, `#/vaults/${item.vault.id}/items/${id}`);
  await page.getByRole("button", { name: "Edit" }).click();
  await field(page, "<img src=x onerror=alert(1)>‹U+202E›").waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("button", { name: "Delete" }).click();
  const sure = page.getByRole("dialog").getByRole("button", { name: "Delete" });
  await page.getByRole("dialog").getByRole("textbox").fill("to delete");
  assert.ok(await sure.isDisabled());
  await page.getByRole("dialog").getByRole("textbox").fill("to delete <b>");
  await page.keyboard.press("Enter");
  await page.getByLabel("Search titles and tags").waitFor();
  await until(async () => !(await stored("to  delete <b>")), "the deletion");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a revoked token is refused at once, also in a second tab that uses it", async () => {
  const token = server.makeToken("to-revoke", "--vault", "apps=read");
  const other = await opened({}, token);
  const page = await opened();
  await page.getByRole("link", { name: "Tokens" }).click();
  await page.getByRole("button", { name: "Revoke to-revoke" }).click();
  const revoke = page.getByRole("dialog").getByRole("button", { name: "Revoke" });
  assert.ok(await revoke.isDisabled());
  await page.getByRole("dialog").getByRole("textbox").fill("to-revoke");
  await revoke.click();
  await page.getByRole("row", { name: /to-revoke/ }).getByText("revoked", { exact: true }).waitFor();
  await other.getByText("The server no longer accepts this token").waitFor();
  assert.deepEqual(page.faults, []);
  await Promise.all([page.context().close(), other.context().close()]);
});

test("a token without the rights of another can't revoke it", async () => {
  const reader = server.makeToken("weak", "--vault", "apps=read");
  const [strong] = (await (await server.client("GET", "/v1/tokens")).json()).filter((token) => token.isCaller);
  const answer = await server.client("DELETE", `/v1/tokens/${strong.jti}`, undefined, reader);
  assert.equal(answer.status, 403);
  const seen = await (await server.client("GET", "/v1/tokens", undefined, reader)).json();
  assert.ok(seen.every((token) => Object.keys(token.vaults).every((id) => id === item.vault.id)));
});

test("an expired token is refused with words that say why", async () => {
  const page = await watched(await chrome.newContext(), server.url);
  const expired = server.makeToken("expired", "--vault", "apps=read", "--expires", "1s");
  await until(async () => (await server.client("GET", "/v1/vaults", undefined, expired)).status === 401, "the expiry");
  await page.goto(`${server.url}/ui`);
  await page.getByLabel("Token", { exact: true }).fill(expired);
  await page.getByRole("button", { name: "Open" }).click();
  await page.getByText("it has expired, or was revoked").waitFor();
  await page.context().close();
});

test("the token stays for a reload only if the box is ticked", async () => {
  const page = await opened();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Token", { exact: true }).fill(server.token);
  await page.getByLabel("Remember it").check();
  await page.getByRole("button", { name: "Open" }).click();
  await page.getByRole("navigation").waitFor();
  await page.reload();
  await page.getByRole("navigation").waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.reload();
  await page.getByLabel("Token", { exact: true }).waitFor();
  await page.context().close();
});

test("a change appears in two tabs by itself, and activity follows", async () => {
  const [list, activity] = [await opened(), await opened()];
  await list.evaluate((id) => { location.hash = `#/vaults/${id}`; }, item.vault.id);
  await activity.getByRole("link", { name: "Activity" }).click();
  await list.getByText("smtp-relay").waitFor();
  await server.create("apps", { title: "made-meanwhile", category: "PASSWORD", vault: { id: item.vault.id }, fields: [] });
  await list.getByText("made-meanwhile").waitFor();
  await activity.getByRole("cell", { name: "Create" }).first().waitFor();
  await activity.getByLabel("Token or client has").fill("nobody of this name");
  await activity.getByText("No recorded request matches.").waitFor();
  assert.deepEqual([...list.faults, ...activity.faults], []);
  await Promise.all([list.context().close(), activity.context().close()]);
});

test("hostile titles, labels and tags are text", async () => {
  assert.ok(hostile.length >= 60);
  const [vault] = server.vaults.filter((known) => known.name === "hostile");
  let last;
  for (const title of hostile) {
    last = await server.create("hostile", { title, category: "LOGIN", tags: [title.slice(0, 60)], vault: { id: vault.id }, urls: [{ href: title }],
      fields: [{ id: "f", label: title, type: "STRING", value: title }] });
    assert.ok(last.id, `${title}: ${JSON.stringify(last)}`);
  }
  const page = await opened({ viewport: { width: 1200, height: 6000 } });
  await page.evaluate((id) => { location.hash = `#/vaults/${id}`; }, vault.id);
  await page.locator(".count").getByText(`${hostile.length} items`).waitFor();
  const shown = await page.locator(".row-title").allTextContents();
  assert.equal(shown.length, hostile.length);
  const invisible = /[\u00ad\u200b-\u200f\u2028-\u202e\u2066-\u2069\u3164\ufeff]|[\u{e0000}-\u{e0fff}]/u;
  const plain = hostile.filter((title) => !invisible.test(title));
  for (const title of plain) assert.ok(shown.includes(title), title);
  assert.ok(shown.every((title) => !invisible.test(title)));
  assert.ok(shown.includes("admin‹U+202E›drowssap"), shown.join("\n"));
  for (const n of [0, 1, 5, 17, 25, 51]) {
    await page.locator(`[data-n="${n}"]`).click();
    await page.getByRole("button", { name: /^Reveal/ }).click();
    await page.locator(".value").waitFor();
    assert.equal(await page.locator(".value").textContent(), shown[n]);
    await page.goBack();
    await page.locator(".row-title").first().waitFor();
  }
  assert.equal(await page.locator("main script, main img, main iframe, main svg, main style, main form").count(), 0);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("plots show requests, and only the sources of vaults that the token may read, also as tables", async () => {
  fs.writeFileSync(path.join(files, "platform", "grafana.yaml"), "username: admin\npassword: changed\n");
  const history = async (token) => (await server.client("GET", "/v1/history", undefined, token)).json();
  const all = await until(async () => {
    const now = await history();
    return now.sources.some((source) => source.reads.some((count) => count > 0)) && now;
  }, "a reading of the source");
  assert.deepEqual(all.sources.map((source) => source.name), ["platform"]);
  assert.ok(all.requests.count.at(-1) + (all.requests.count.at(-2) ?? 0) > 0);
  assert.equal(all.sources[0].ageSeconds.length, all.requests.count.length);
  const less = await history(server.makeToken("apps-only", "--vault", "apps=read"));
  assert.deepEqual(less.sources, []);
  assert.ok(!JSON.stringify(await history(server.makeToken("writes-only", "--vault", "platform=write"))).includes("platform"));
  assert.equal((await fetch(`${server.url}/v1/history`)).status, 401);
  const page = await opened({}, server.token, "#/history");
  await page.locator(".source-plots").waitFor();
  assert.equal(await page.locator("svg.graph").count(), 4);
  const graph = page.getByRole("img", { name: /^Requests a second: now requests / });
  assert.match(await graph.locator("path.line-0").getAttribute("d"), /^M[\d. MLh-]+$/);
  const summary = page.locator("summary").first();
  await summary.press("Enter");
  await page.getByRole("region", { name: "Requests a second" }).getByRole("row").nth(1).waitFor();
  assert.equal(await page.locator("main [style]").count(), 0);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("when sync is down, the page says so and goes on; when the api is down, it says that", async () => {
  const directory = path.join(files, "platform");
  const two = await pair(directory);
  const page = await watched(await chrome.newContext(), two.url);
  await page.goto(`${two.url}/ui`);
  await page.getByLabel("Token", { exact: true }).fill(two.token);
  await page.getByRole("button", { name: "Open" }).click();
  await page.getByRole("heading", { name: "Sources" }).waitFor();
  assert.equal(await page.getByText("sync is not connected").count(), 0);
  two.sync.kill("SIGTERM");
  await page.locator(".notice").getByText("sync is not connected").waitFor();
  await page.getByRole("link", { name: "Vaults" }).click();
  await page.getByRole("link", { name: "platform" }).click();
  await page.getByText("grafana", { exact: true }).waitFor();
  two.api.kill("SIGKILL");
  await page.getByText("The server can't be reached").waitFor();
  await page.context().close();
});

test(`${ITEMS} items: few rows are in the page, and all can be found and reached`, async () => {
  const [vault] = server.vaults.filter((known) => known.name === "many");
  const title = (n) => `service-${String(n).padStart(6, "0")}`;
  const items = Array.from({ length: ITEMS }, (_, n) => ({ id: String(n), title: title(n), category: "LOGIN", tags: [`team-${n % 40}`], vault: { name: "many" }, fields: [{ id: "p", label: "p", value: "x" }] }));
  fs.writeFileSync(path.join(files, "many.json"), JSON.stringify(items));
  await server.run("import", path.join(files, "many.json"), "--data", server.dataDir, "--yes", "--allow-ephemeral");
  const page = await opened();
  const took = await page.evaluate((id) => new Promise((resolve) => {
    const started = performance.now();
    location.hash = `#/vaults/${id}`;
    const look = () => (document.querySelector(".row") ? resolve(performance.now() - started) : requestAnimationFrame(look));
    look();
  }), vault.id);
  await page.getByText(`${ITEMS.toLocaleString("en")} items`, { exact: true }).first().waitFor({ timeout: 100_000 });
  console.log(`first rows of ${ITEMS} items after ${Math.round(took)} ms`);
  assert.ok((await page.locator(".row").count()) < 60);
  const search = page.getByLabel("Search titles and tags");
  await search.fill(title(ITEMS - 1));
  await page.waitForFunction(() => document.querySelectorAll(".row").length === 1);
  await search.fill("");
  const frames = await page.evaluate(() => new Promise((resolve) => {
    const scroller = document.querySelector(".scroller"), step = scroller.scrollHeight / 120, times = [];
    let last = performance.now();
    const frame = (now) => {
      times.push(now - last);
      last = now;
      scroller.scrollTop += step;
      if (times.length < 120) requestAnimationFrame(frame);
      else resolve(times.slice(1).sort((a, b) => a - b));
    };
    requestAnimationFrame(frame);
  }));
  console.log(`frames while ${ITEMS} items are scrolled through: half take ${Math.round(frames[60])} ms at most, 95 of 100 ${Math.round(frames[113])} ms`);
  await search.press("ArrowDown");
  await page.keyboard.press("End");
  await page.waitForFunction((last) => document.activeElement?.dataset.n === last, String(ITEMS - 1));
  assert.ok((await page.locator(".row").count()) < 60);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});
