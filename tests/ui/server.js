// Starts servers, and Chromium.
const { spawn, execFile, execFileSync } = require("node:child_process");
const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");
const { promisify } = require("node:util");
const { chromium } = require("playwright-core");

const binary = process.env.SIDEVAULT_BIN;
const running = [];

function start(args, env = {}) {
  const child = spawn(binary, args, { env: { ...process.env, OP_LOG_LEVEL: "debug", ...env } });
  child.log = "";
  child.out = "";
  child.stdout.on("data", (text) => { child.out += text; });
  child.stderr.on("data", (text) => { child.log += text; });
  child.ended = new Promise((resolve) => child.on("exit", resolve));
  running.push(child);
  return child;
}

async function until(condition, what) {
  for (let n = 0; n < 600; n++) {
    const found = await condition();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`never came: ${what}`);
}

/** A quickstart server with these arguments, and what it printed. */
async function quickstart(...args) {
  const child = start(["quickstart", "--ephemeral", "--port", "0", "--json", ...args]);
  const line = await until(() => child.exitCode !== null ? Promise.reject(new Error(child.log)) : child.out.includes("\n") && child.out, "the address");
  const ready = JSON.parse(line);
  const client = (method, url, body, token = ready.token) => fetch(ready.url + url, {
    method, headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
  const create = async (vault, item) => (await client("POST", `/v1/vaults/${vault}/items`, item)).json();
  const makeToken = (name, ...grants) => execFileSync(binary, ["token", "create", name, "--data", ready.dataDir, ...grants], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  const run = (...command) => promisify(execFile)(binary, command);
  return { ...ready, child, client, create, makeToken, run };
}

const freePort = () => new Promise((resolve) => {
  const server = net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

/** An api and a sync as two processes. */
async function pair(directory) {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "sidevault-ui-"));
  const keys = path.join(root, "keys");
  fs.mkdirSync(keys);
  execFileSync(binary, ["init", "--out", keys], { stdio: "ignore" });
  const [http, status, bus] = [await freePort(), await freePort(), await freePort()];
  const env = { OP_SESSION: path.join(keys, "1password-credentials.json"), XDG_DATA_HOME: path.join(root, "data"), OP_BUS_PORT: String(bus) };
  fs.mkdirSync(env.XDG_DATA_HOME);
  const api = start(["api"], { ...env, OP_HTTP_PORT: String(http), SIDEVAULT_UI: "true" });
  const sync = start(["sync", "--allow-ephemeral", "--dir", directory], { ...env, OP_HTTP_PORT: String(status), OP_BUS_PORT: "", OP_BUS_PEERS: `localhost:${bus}` });
  const vault = path.basename(directory);
  const token = execFileSync(binary, ["token", "create", "viewer", "--issuer", path.join(keys, "issuer.json"), "--vault", `${vault}=read`], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  const url = `http://127.0.0.1:${http}`;
  await until(async () => {
    if (api.exitCode !== null || sync.exitCode !== null) throw new Error(api.log + sync.log);
    const answer = await fetch(`${url}/v1/vaults`, { headers: { Authorization: `Bearer ${token}` } }).catch(() => null);
    return answer?.ok && (await answer.json()).length;
  }, "the pair");
  return { url, token, api, sync };
}

async function stopAll() {
  for (const child of running) if (child.exitCode === null) child.kill("SIGTERM");
  await Promise.all(running.map((child) => child.ended));
}

const browser = () => chromium.launch({ executablePath: process.env.SIDEVAULT_CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage"] });

/** A page that notes what must not happen: dialogs, console messages, errors, requests to other places. */
async function watched(context, origin) {
  const { SIDEVAULT_PAGE_FILES: files } = process.env;
  if (files) {
    await context.route(/\/ui\/[\w.]+$/, async (route) => {
      const file = path.join(files, path.basename(new URL(route.request().url()).pathname));
      if (!fs.existsSync(file)) return route.continue();
      const response = await route.fetch();
      return route.fulfill({ status: 200, headers: { ...response.headers(), "content-encoding": "identity" }, body: fs.readFileSync(file) });
    });
  }
  const page = await context.newPage();
  page.faults = [];
  page.requests = [];
  page.on("dialog", (dialog) => { page.faults.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("console", (message) => page.faults.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => page.faults.push(`error: ${error.stack}`));
  page.on("request", (request) => {
    page.requests.push(request.url());
    if (!request.url().startsWith(origin) && !request.url().startsWith("blob:")) page.faults.push(`request: ${request.url()}`);
  });
  return page;
}

/** A page of this server that is signed in with a token. */
async function signedIn(chrome, url, options, token, hash = "") {
  const page = await watched(await chrome.newContext(options), url);
  await page.goto(`${url}/ui${hash}`);
  await page.getByLabel("Token", { exact: true }).fill(token);
  await page.getByRole("button", { name: "Open" }).click();
  await page.getByRole("navigation").waitFor();
  return page;
}

module.exports = { browser, pair, quickstart, signedIn, stopAll, until, watched };
