// Sources, vaults, activity and tokens.
import { get, request } from "./api.js";
import { ask, drawing, fill, h, name, say, visible, when } from "./dom.js";
import { knownTitle } from "./items.js";
import { text } from "./strings.js";

const PARTS = new Set(["sync", "sqlite", "postgresql", "postgres", "backup", "revoked", "account_data"]);
const header = (title, lead) => [h("h1", { tabindex: "-1" }, title), h("p", { class: "lead" }, lead)];

export function sourcesView(session, signal) {
  const sources = h("div", {}, h("p", {}, text.loading)), parts = h("div", {});
  const element = h("section", {}, header(text.sources, text.sourcesLead), sources,
    h("h2", {}, text.server), h("p", { class: "lead" }, text.serverLead), parts);
  const card = (part, vaults) => h("li", { class: "card" },
    h("div", { class: "card-head" }, name(part.service, { class: "card-title" }), h("span", { class: `state ${part.status.toLowerCase()}` }, text.states[part.status] ?? part.status)),
    part.message && h("p", { class: "message" }, part.message.split("\n").map((line, n) => [n > 0 && h("br"), visible(line)])),
    vaults.length > 0 && h("ul", { class: "plain small-list" }, vaults.map((vault) => h("li", {},
      h("a", { href: `#/vaults/${vault.id}` }, name(vault.name)), " ", h("span", { class: "quiet-text" }, text.items(vault.items), " · ", text.lastChange(""), when(vault.updatedAt))))));
  const drawSources = drawing(sources, (outer, vaults) => {
    const from = (source) => vaults.filter((vault) => (vault.source ?? null) === source);
    const cards = outer.map((part) => card(part, from(part.service)));
    if (from(null).length) cards.push(card({ service: text.localSource, status: "ACTIVE", message: text.localSourceLead }, from(null)));
    return h("ul", { class: "cards" }, cards);
  });
  const drawParts = drawing(parts, (inner) => h("ul", { class: "cards" }, inner.map((part) => card(part, []))));
  async function load() {
    const [health, vaults] = await Promise.all([get("/health", { signal }), session.vaults(signal)]);
    const [inner, outer] = [health.dependencies.filter((part) => PARTS.has(part.service)), health.dependencies.filter((part) => !PARTS.has(part.service))];
    drawSources(outer, vaults);
    drawParts(inner);
    session.syncIsDown(inner.some((part) => part.service === "sync" && part.status === "FAILED"));
  }
  return { element, load, changed: load, every: 5000 };
}

export function vaultsView(session, signal) {
  const list = h("div", {}, h("p", {}, text.loading));
  const draw = drawing(list, (vaults) => vaults.length === 0 ? h("p", { class: "quiet-text" }, text.noVaults)
    : h("ul", { class: "cards" }, vaults.map((vault) => h("li", { class: "card link" },
      h("div", { class: "card-head" }, h("a", { class: "card-title", href: `#/vaults/${vault.id}` }, name(vault.name)),
        h("span", { class: "badge" }, vault.source ? text.from(visible(vault.source)) : text.local)),
      vault.description && h("p", {}, name(vault.description)),
      h("p", { class: "quiet-text" }, text.items(vault.items), " · ", text.lastChange(""), when(vault.updatedAt), " · ", text.rights[vault.access] ?? vault.access)))));
  const load = async () => draw(await session.vaults(signal));
  return { element: h("section", {}, header(text.vaults, text.vaultsLead), list), load, changed: load };
}

export function activityView(session, signal) {
  let records = [], vaults = new Map();
  const choice = (label, id, options) => {
    const select = h("select", { id, onchange: () => draw() }, h("option", { value: "" }, text.all), options.map(([value, shown]) => h("option", { value }, shown)));
    return [h("div", { class: "filter" }, h("label", { for: id }, label), select), select];
  };
  const [actionBox, action] = choice(text.filterAction, "f-action", Object.entries(text.action));
  const [resultBox, result] = choice(text.filterResult, "f-result", Object.entries(text.outcome));
  const [vaultBox, vault] = choice(text.filterVault, "f-vault", []);
  const who = h("input", { type: "search", id: "f-who", autocomplete: "off", spellcheck: "false", oninput: () => draw() });
  const body = h("tbody", {});
  const empty = h("p", { class: "quiet-text", hidden: true }, text.noActivity);
  const element = h("section", {}, header(text.activity, text.activityLead),
    h("div", { class: "filters" }, actionBox, resultBox, vaultBox, h("div", { class: "filter" }, h("label", { for: "f-who" }, text.filterToken), who)),
    h("div", { class: "table-frame", tabindex: "0", role: "region", "aria-label": text.activity }, h("table", { class: "stack" },
      h("thead", {}, h("tr", {}, [text.when, text.who, text.did, text.what, text.result].map((title) => h("th", { scope: "col" }, title)))), body)), empty);

  const drawRows = drawing(body, (rows) => rows.map(({ record, place, title }) => {
    const { vault: { id: inVault }, item } = record.resource;
    const vaultName = place === null ? inVault : name(place);
    const on = item ? [h("a", { href: `#/vaults/${inVault}/items/${item.id}` }, title ? name(title) : `${text.item} ${item.id.slice(0, 8)}…`), " ", h("span", { class: "quiet-text" }, vaultName)]
      : [h("a", { href: `#/vaults/${inVault}` }, vaultName), " ", h("span", { class: "quiet-text" }, text.vault)];
    return h("tr", {}, h("td", {}, when(record.timestamp)), h("td", {}, name(record.actor.account), h("div", { class: "quiet-text" }, name((record.actor.userAgent ?? "").split(" ").at(0)))),
      h("td", {}, text.action[record.action] ?? record.action), h("td", {}, on),
      h("td", {}, h("span", { class: `badge ${record.result === "DENY" ? "gone" : ""}` }, text.outcome[record.result] ?? record.result)));
  }));

  function draw() {
    const wanted = who.value.toLowerCase();
    const shown = records.filter((record) => (!action.value || record.action === action.value) && (!result.value || record.result === result.value)
      && (!vault.value || record.resource.vault.id === vault.value)
      && (!wanted || `${record.actor.account}\n${record.actor.jti}\n${record.actor.userAgent}`.toLowerCase().includes(wanted)));
    empty.hidden = shown.length > 0;
    drawRows(shown.slice(0, 300).map((record) => ({ record, place: vaults.get(record.resource.vault.id)?.name ?? null, title: knownTitle(record.resource.item?.id) })));
  }

  async function load() {
    const [fresh, list] = await Promise.all([get("/v1/activity?limit=1000", { signal }), session.vaults(signal)]);
    if (vaults.size !== list.length) {
      const chosen = vault.value;
      fill(vault, [h("option", { value: "" }, text.all), list.map((entry) => h("option", { value: entry.id }, visible(entry.name)))]);
      vault.value = chosen;
    }
    vaults = new Map(list.map((entry) => [entry.id, entry]));
    records = fresh;
    draw();
  }
  return { element, load, changed: load, every: 3000 };
}

export function tokensView(session, fail, signal) {
  const body = h("tbody", {});
  const element = h("section", {}, header(text.tokens, text.tokensLead),
    h("div", { class: "table-frame", tabindex: "0", role: "region", "aria-label": text.tokens }, h("table", { class: "stack" },
      h("thead", {}, h("tr", {}, [text.tokenName, text.tokenRights, text.tokenExpires, text.tokenUsed, text.tokenState].map((title) => h("th", { scope: "col" }, title)), h("td", {}))), body)));

  async function revoke(token) {
    const shown = visible(token.name || token.jti);
    const agreed = await ask({ title: text.revokeTitle(shown), lead: [text.revokeLead, token.isCaller && text.revokeOwn].filter(Boolean),
      confirm: text.revoke, cancel: text.cancel, word: shown, wordLabel: text.revokeType(shown) });
    if (!agreed) return;
    try {
      await request(`/v1/tokens/${encodeURIComponent(token.jti)}`, { method: "DELETE", signal });
      if (token.isCaller) return session.leave();
      await load();
      say(text.revoked(shown));
    } catch (error) {
      fail(error);
    }
  }

  const draw = drawing(body, (tokens) => tokens.map(({ token, state, vaults, lastUse }) => h("tr", {},
    h("th", { scope: "row" }, name(token.name || token.jti), token.isCaller && [" ", h("span", { class: "badge" }, text.you)]),
    h("td", { "data-label": text.tokenRights }, vaults.slice(0, 5).map(([vault, access]) => h("div", {}, name(vault), " ", h("span", { class: "quiet-text" }, text.rights[access] ?? access)))),
    h("td", { "data-label": text.tokenExpires }, token.expiresAt ? when(token.expiresAt) : text.never),
    h("td", { "data-label": text.tokenUsed }, lastUse ? when(lastUse) : "–"),
    h("td", { "data-label": text.tokenState }, h("span", { class: `badge ${state === "valid" ? "added" : "gone"}` }, text.tokenStates[state])),
    h("td", {}, token.canRevoke && h("button", { type: "button", class: "small quiet", "aria-label": text.revokeOf(visible(token.name || token.jti)), onclick: () => revoke(token) }, text.revoke)))));

  async function load() {
    const [tokens, records, vaults] = await Promise.all([get("/v1/tokens", { signal }), get("/v1/activity?limit=1000", { signal }), session.vaults(signal)]);
    const names = new Map(vaults.map((vault) => [vault.id, vault.name]));
    const used = new Map();
    for (const record of records) if (!used.has(record.actor.jti)) used.set(record.actor.jti, record.timestamp);
    const state = (token) => (token.revokedAt ? "revoked" : token.expiresAt && Date.parse(token.expiresAt) <= Date.now() ? "expired" : "valid");
    draw(tokens.toReversed().map((token) => ({ token, state: state(token), lastUse: used.get(token.jti),
      vaults: Object.entries(token.vaults).map(([id, access]) => [names.get(id) ?? id, access]) })));
  }
  return { element, load, changed: () => {} };
}
