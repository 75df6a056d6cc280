// One item: its fields, values only after "Reveal", one-time codes, files, versions and who read it.
import { get, itemPath, request } from "./api.js";
import { ago, ask, fill, h, name, say, visible, when } from "./dom.js";
import { itemForm } from "./edit.js";
import { category, rememberTitle } from "./items.js";
import { text } from "./strings.js";

const SHOWN_MS = 30_000;

const labelOf = (field) => visible(field.label || field.id || text.unnamed);

/** Shows a value in `place` and takes it away after 30 seconds, or when the view ends. */
function showFor(ms, signal, show, hide) {
  show();
  const stop = () => { clearTimeout(timer); signal.removeEventListener("abort", stop); hide(); };
  const timer = setTimeout(stop, ms);
  signal.addEventListener("abort", stop);
  return stop;
}

export function itemView(vault, id, rights, fail, signal) {
  const path = itemPath(vault.id, id);
  const body = h("div", {}, h("p", {}, text.loading));
  const heading = h("h1", { tabindex: "-1" }, text.loading);
  const element = h("section", { class: "item-view" },
    h("p", { class: "crumbs" }, h("a", { href: `#/vaults/${vault.id}` }, text.back(visible(vault.name)))), heading, body);
  let stops = [], tag = null, form = null, deleted = false;

  /** The item with values: one request, which the activity log records. */
  const reveal = (version) => get(version ? `${path}?version=${version}` : path, { signal });
  const sameField = (a, b) => a.id === b.id && a.label === b.label && a.section?.id === b.section?.id;

  function fieldRow(field) {
    const label = labelOf(field);
    const value = h("dd", {});
    const isCode = field.type === "OTP";
    const button = h("button", { type: "button", class: "small", "aria-label": isCode ? text.showCodeOf(label) : text.revealOf(label), onclick: press },
      isCode ? text.showCode : text.reveal);
    let stop = null;
    const mask = () => fill(value, field.hasValue
      ? [h("span", { class: "mask", "aria-label": text.hidden, role: "img" }, "••••••••"), button]
      : h("span", { class: "quiet-text" }, text.empty));
    const hide = () => {
      stop = null;
      mask();
      if (!signal.aborted) say(text.hiddenAgain(label));
    };
    async function press() {
      button.disabled = true;
      try {
        const found = (await reveal()).fields.find((other) => sameField(field, other));
        if (found) isCode ? code(found) : plain(found.value);
      } catch (error) {
        fail(error);
      }
      button.disabled = false;
    }
    function plain(secret) {
      const close = h("button", { type: "button", class: "small quiet", "aria-label": text.hideOf(label), onclick: () => stop?.() }, text.hide);
      const copy = h("button", { type: "button", class: "small quiet", onclick: async () => {
        await navigator.clipboard.writeText(secret);
        copy.textContent = text.copied;
      } }, text.copy);
      stop = showFor(SHOWN_MS, signal, () => {
        fill(value, [h("code", { class: "value" }, secret), navigator.clipboard && copy, close]);
        say(text.revealed(label));
        close.focus();
      }, hide);
      stops.push(stop);
    }
    function code(found) {
      if (!found.totp) {
        fill(value, [h("span", { class: "quiet-text" }, text.noCode), button]);
        return;
      }
      const period = Number(/[?&]period=(\d{1,4})/.exec(found.value)?.[1]) || 30;
      const left = () => period - (Math.floor(Date.now() / 1000) % period);
      const clock = h("span", { class: "countdown" }, text.codeFor(left()));
      const tick = setInterval(() => { clock.textContent = text.codeFor(left()); }, 250);
      stop = showFor(Math.min(left(), 30) * 1000, signal,
        () => fill(value, [h("code", { class: "value code" }, found.totp), clock]),
        () => { clearInterval(tick); hide(); });
      stops.push(stop);
    }
    mask();
    return h("div", { class: "field" }, h("dt", {}, name(field.label || field.id || text.unnamed), h("span", { class: "type" }, field.type.toLowerCase())), value);
  }

  function fields(item) {
    if (!item.fields.length) return h("p", { class: "quiet-text" }, text.noFields);
    const bySection = Map.groupBy(item.fields, (field) => field.section?.id ?? "");
    return [...bySection].map(([section, list]) => {
      const label = item.sections.find((other) => other.id === section)?.label;
      return [label && h("h3", {}, name(label)), h("dl", { class: "fields" }, list.map(fieldRow))];
    });
  }

  function files(item) {
    if (!item.files.length) return null;
    const save = async (file) => {
      try {
        const blob = await (await request(`${path}/files/${file.id}/content`, { signal })).blob();
        const url = URL.createObjectURL(blob);
        h("a", { href: url, download: file.name }).click();
        setTimeout(() => URL.revokeObjectURL(url), 10_000);
      } catch (error) {
        fail(error);
      }
    };
    return [h("h2", {}, text.files), h("ul", { class: "plain" }, item.files.map((file) => h("li", { class: "line" }, name(file.name),
      h("span", { class: "quiet-text" }, size(file.size)),
      h("button", { type: "button", class: "small", "aria-label": text.downloadOf(visible(file.name)), onclick: () => save(file) }, text.download))))];
  }

  function versions(item, list) {
    const place = h("div", { id: "diff", "aria-live": "polite" });
    return [h("h2", {}, text.versions), h("p", { class: "lead" }, text.versionsLead),
      h("ul", { class: "plain versions" }, list.map((entry, n) => h("li", { class: "line" },
        h("strong", {}, text.version(entry.version)), h("span", { class: "quiet-text" }, when(entry.updatedAt)),
        entry.commit && h("span", { class: "quiet-text", title: entry.commit.id }, text.commit(entry.commit.id.slice(0, 12))),
        n === 0 && h("span", { class: "badge" }, text.current),
        list[n + 1] && h("button", { type: "button", class: "small", "aria-label": text.compareOf(entry.version, list[n + 1].version),
          onclick: () => diff(place, list[n + 1].version, entry.version) }, text.compare),
        n > 0 && rights.write && h("button", { type: "button", class: "small quiet", "aria-label": text.restoreOf(entry.version), onclick: () => restore(entry.version) }, text.restore)))),
      place];
  }

  async function diff(place, from, to) {
    try {
      const found = await get(`${path}/versions/${to}/differences?with=${from}`, { signal });
      const cells = found.fields.map((field) => ({ field, before: h("td", {}), after: h("td", {}) }));
      const mask = () => cells.forEach(({ field, before, after }) => {
        fill(before, field.change === "added" ? "–" : h("span", { class: "mask", role: "img", "aria-label": text.hidden }, "••••••"));
        fill(after, field.change === "gone" ? "–" : h("span", { class: "mask", role: "img", "aria-label": text.hidden }, "••••••"));
      });
      mask();
      const button = h("button", { type: "button", class: "small", onclick: async () => {
        button.disabled = true;
        try {
          const [old, fresh] = await Promise.all([reveal(from), reveal(to)]);
          const value = (item, field) => item.fields.find((other) => sameField(field, other))?.value
            ?? item.fields.find((other) => other.label === field.label && other.section?.id === field.section?.id)?.value ?? "";
          stops.push(showFor(SHOWN_MS, signal, () => cells.forEach(({ field, before, after }) => {
            if (field.change !== "added") fill(before, h("code", { class: "value" }, value(old, field)));
            if (field.change !== "gone") fill(after, h("code", { class: "value" }, value(fresh, field)));
          }), () => { mask(); button.disabled = false; }));
        } catch (error) {
          button.disabled = false;
          fail(error);
        }
      } }, text.revealDiff);
      fill(place, [h("h3", {}, text.diffTitle(from, to)),
        !cells.length && !found.parts.length && h("p", {}, text.noDifferences),
        cells.length > 0 && h("div", { class: "table-frame", tabindex: "0", role: "region", "aria-label": text.diffTitle(from, to) }, h("table", {},
          h("thead", {}, h("tr", {}, [text.field, text.whatChanged, text.before, text.after].map((title) => h("th", { scope: "col" }, title)))),
          h("tbody", {}, cells.map(({ field, before, after }) => h("tr", {}, h("th", { scope: "row" }, name(field.label || field.id)),
            h("td", {}, h("span", { class: `badge ${field.change}` }, text.change[field.change])), before, after))))),
        found.parts.length > 0 && h("p", {}, text.alsoChanged(found.parts.map((part) => text.parts[part] ?? part).join(", "))),
        cells.length > 0 && button]);
    } catch (error) {
      fail(error);
    }
  }

  async function restore(version) {
    const agreed = await ask({ title: text.restoreTitle(version), lead: text.restoreLead, confirm: text.restore, cancel: text.cancel });
    if (!agreed) return;
    try {
      await request(`${path}/versions/${version}/restore`, { method: "POST", signal });
      await load();
      say(text.restored(version));
      heading.focus();
    } catch (error) {
      fail(error);
    }
  }

  function readers(records) {
    const byToken = Map.groupBy(records.filter((record) => record.resource.item?.id === id && record.action === "READ" && record.result === "SUCCESS"), (record) => record.actor.jti);
    return [h("h2", {}, text.readers), h("p", { class: "lead" }, text.readersLead),
      byToken.size === 0 ? h("p", { class: "quiet-text" }, text.noReaders)
        : h("ul", { class: "plain" }, [...byToken.values()].map((list) => h("li", { class: "line" }, name(list[0].actor.account, { class: "strong" }),
          h("span", { class: "quiet-text" }, name((list[0].actor.userAgent ?? "").split(" ").at(0)), ` · ${text.lastRead.toLowerCase()} ${ago(list[0].timestamp)} · ${list.length}×`))))];
  }

  /** Opens the form with all values: one request, which the activity log records. */
  async function edit(button) {
    button.disabled = true;
    try {
      let outline, response;
      do {
        [outline, response] = await Promise.all([reveal(), request(`${path}/outline`, { signal })]);
        // Somebody may save between the two.
      } while ((await response.json()).version !== outline.version);
      endShown();
      form = itemForm({ vault, item: outline, tag: response.headers.get("ETag"), signal, done: async (id) => {
        form = null;
        if (id && id !== outline.id) return void (location.hash = `#/vaults/${vault.id}/items/${id}`);
        await load().catch(fail);
        if (id) say(text.saved);
        heading.focus();
      } });
      fill(body, form.element);
      form.focus();
    } catch (error) {
      button.disabled = false;
      fail(error);
    }
  }

  async function remove(item) {
    const word = visible(item.title).trim() || id;
    const agreed = await ask({ title: text.deleteTitle(word), lead: text.deleteLead, confirm: text.delete, cancel: text.cancel, word, wordLabel: text.deleteType(word) });
    if (!agreed) return;
    deleted = true;
    try {
      await request(path, { method: "DELETE", headers: tag ? { "If-Match": tag } : {}, signal });
      location.hash = `#/vaults/${vault.id}`;
      say(text.deleted(word));
    } catch (error) {
      deleted = false;
      fail(error);
      if (error.status === 412) await load().catch(fail);
    }
  }

  function endShown() {
    for (const stop of stops) stop();
    stops = [];
  }

  function gone() {
    endShown();
    fill(heading, text.gone);
    fill(body, []);
  }

  async function load() {
    endShown();
    let item;
    try {
      const response = await request(`${path}/outline`, { signal });
      item = await response.json();
      tag = response.headers.get("ETag");
    } catch (error) {
      if (error.status !== 404) throw error;
      return gone();
    }
    const [list, records] = await Promise.all([get(`${path}/versions`, { signal }), get("/v1/activity?limit=1000", { signal })]);
    rememberTitle(id, item.title);
    fill(heading, name(item.title || text.unnamed));
    document.title = `${visible(item.title)} · ${text.name}`;
    fill(body, [
      h("p", { class: "meta" }, h("span", { class: "badge" }, category(item.category)), text.version(item.version), " · ", text.changed(""), when(item.updatedAt),
        item.tags.map((tag) => name(tag, { class: "tag" }))),
      rights.write && h("p", { class: "actions start" }, h("button", { type: "button", onclick: (event) => edit(event.currentTarget) }, text.edit),
        h("button", { type: "button", class: "quiet", onclick: () => remove(item) }, text.delete)),
      h("h2", {}, text.fields), fields(item),
      item.urls.length > 0 && [h("h2", {}, text.addresses), h("ul", { class: "plain" }, item.urls.map((url) => h("li", { class: "line" }, name(url.href))))],
      files(item), versions(item, list), readers(records)]);
  }

  const changed = (type, event) => {
    if (deleted || (type !== "reset" && event.item !== id)) return;
    if (form) form.changedMeanwhile();
    else if (type === "item.deleted") gone();
    else load().catch(fail);
  };
  return { element, load, changed, mayLeave: async () => !form || form.mayLeave() };
}

function size(bytes) {
  for (const unit of ["B", "kB", "MB"]) {
    if (bytes < 1000) return `${Math.round(bytes * 10) / 10} ${unit}`;
    bytes /= 1000;
  }
  return `${Math.round(bytes * 10) / 10} GB`;
}
