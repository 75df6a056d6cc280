// The frame of the page: signing in, the parts of the page, what the server announces.
import { follow, get, isSignedIn, on, redeem, signIn, signOut } from "./api.js";
import { fill, h, name, visible } from "./dom.js";
import { newItemView } from "./edit.js";
import { itemView } from "./item.js";
import { itemsView } from "./items.js";
import { text } from "./strings.js";
import { plotsView } from "./plots.js";
import { activityView, sourcesView, tokensView, vaultsView } from "./views.js";

const page = document.getElementById("page");
const main = h("main", { id: "main", tabindex: "-1" });
const alert = h("div", { class: "alert", role: "alert", hidden: true });
const notice = h("div", { class: "notice", role: "status", hidden: true });
let own = null, view = null, control = null, timer = null, shownHash = "";

const session = {
  /** The vaults, with the rights of the token in them, and the sources they come from. */
  async vaults(signal) {
    const [vaults, token] = await Promise.all([get("/v1/vaults", { signal }), get("/v1/tokens/self", { signal })]);
    const rights = new Map(token.vaults.map((vault) => [vault.id, vault]));
    return vaults.map((vault) => ({ ...vault, access: "none", ...rights.get(vault.id) }));
  },
  syncIsDown: (isDown) => inform(isDown ? text.syncDown : null),
  leave: () => leave(text.signedOut),
};

function inform(message) {
  if (notice.textContent !== (message ?? "")) notice.textContent = message ?? "";
  notice.hidden = !message;
}

function fail(error) {
  if (error.name === "AbortError" || error.status === 0 || error.status === 401) return;
  fill(alert, [h("span", {}, text.failed(visible(error.message))), h("button", { type: "button", class: "small quiet", onclick: () => { alert.hidden = true; } }, text.close)]);
  alert.hidden = false;
}

function frame() {
  const link = (hash, title) => h("a", { href: `#/${hash}`, "data-part": hash }, title);
  fill(page, [
    h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); main.focus(); } }, text.skip),
    h("header", {}, h("span", { class: "brand" }, text.name),
      h("nav", { "aria-label": text.nav }, link("sources", text.sources), link("vaults", text.vaults), link("activity", text.activity), link("history", text.history), link("tokens", text.tokens)),
      h("div", { class: "who" }, name(own.name, { title: text.signedInAs(visible(own.name)) }), h("button", { type: "button", class: "small quiet", onclick: () => leave(text.signedOut) }, text.signOut))),
    notice, alert, main, h("div", { id: "said", class: "heard", "aria-live": "polite" })]);
}

async function show() {
  if (!own) return;
  shownHash = location.hash;
  control?.abort();
  clearInterval(timer);
  alert.hidden = true;
  control = new AbortController();
  const { signal } = control;
  const [part, vaultId, what, itemId] = location.hash.replace(/^#\//, "").split("/");
  const mine = { vaults: vaultsView, activity: activityView, history: (s, sig) => plotsView(sig), tokens: (s, sig) => tokensView(s, fail, sig) }[part] ?? sourcesView;
  try {
    if (part === "vaults" && vaultId) {
      const vault = (await session.vaults(signal)).find((known) => known.id === vaultId);
      if (!vault) return void (location.hash = "#/vaults");
      const write = vault.access === "read,write" && !vault.source;
      if (itemId) view = itemView(vault, itemId, { write }, fail, signal);
      else view = what === "new" && write ? newItemView(vault, signal) : itemsView(vault, { write }, signal);
    } else {
      view = mine(session, signal);
    }
    const title = view.title ?? text[part] ?? text.sources;
    document.title = `${title} · ${text.name}`;
    for (const link of page.querySelectorAll("nav a")) {
      if (link.dataset.part === (mine === sourcesView ? "sources" : part)) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    fill(main, view.element);
    const current = view;
    if (view.every) timer = setInterval(() => { if (!document.hidden) current.load().catch(fail); }, view.every);
    await view.load();
    if (document.activeElement === document.body) main.querySelector("h1")?.focus({ preventScroll: true });
  } catch (error) {
    fail(error);
  }
}

function leave(message) {
  signOut();
  own = view = null;
  control?.abort();
  clearInterval(timer);
  fill(main, []);
  if (location.hash) history.replaceState(null, "", location.pathname);
  door(message);
}

function door(message) {
  document.title = text.name;
  const input = h("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "token-hint" });
  const keep = h("input", { type: "checkbox", id: "keep" });
  const problem = h("p", { class: "problem", role: "alert" }, message ?? "");
  const form = h("form", { class: "door", onsubmit: (event) => {
    event.preventDefault();
    signIn(input.value.trim(), keep.checked);
    input.value = "";
    enter().catch((error) => { problem.textContent = error.status === 401 ? text.expired : text.failed(visible(error.message)); });
  } }, h("h1", {}, text.name), h("h2", {}, text.signInTitle), h("p", { class: "lead" }, text.signInLead), problem,
  h("label", { for: "token" }, text.token), input, h("p", { id: "token-hint", class: "quiet-text" }, text.tokenHint),
  h("div", { class: "check" }, keep, h("label", { for: "keep" }, text.remember)), h("button", { type: "submit", class: "primary" }, text.signIn));
  fill(page, h("main", { class: "door-frame" }, form));
  input.focus();
}

async function enter() {
  own = await get("/v1/tokens/self");
  frame();
  follow((type, event) => Promise.resolve(view?.changed(type, event)).catch(fail));
  await show();
}

on("refused", () => {
  if (own) leave(text.expired);
  else signOut();
});
on("offline", (isOffline) => {
  if (isOffline) inform(text.offline);
  else if (notice.textContent === text.offline) inform(null);
});
addEventListener("hashchange", async () => {
  // The one-time address was opened in this tab once more.
  if (location.hash.startsWith("#code=")) return void start();
  const to = location.hash;
  if (to === shownHash) return;
  if (own && view?.mayLeave) {
    history.replaceState(null, "", shownHash);
    if (!(await view.mayLeave())) return;
    history.replaceState(null, "", to);
  }
  show();
});

async function start() {
  try {
    await redeem();
    if (isSignedIn()) await enter();
    else door();
  } catch (error) {
    door(error.status === 401 ? visible(error.message) : text.failed(visible(error.message)));
  }
}

start();
