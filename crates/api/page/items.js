// The items of a vault: read as a stream, searched as one types, and only those rows in the page that are visible.
import { elements, get, itemPath, vaultPath } from "./api.js";
import { fill, h, name, say, visible, when } from "./dom.js";
import { text } from "./strings.js";

const ROW_REM = 3.75;
const SPARE = 8;

const titles = new Map();

/** An item's title, if a list has shown it. */
export const knownTitle = (id) => titles.get(id);
export const rememberTitle = (id, title) => titles.set(id, title);

function compact({ id, title, category, tags, version, updatedAt }) {
  titles.set(id, title);
  return { id, title, category, tags, version, updatedAt, text: [title, ...(tags ?? [])].join("\n").toLocaleLowerCase() };
}

export function category(word) {
  return word.charAt(0) + word.slice(1).toLowerCase().replaceAll("_", " ");
}

export function itemsView(vault, rights, signal) {
  let all = [], shown = [], done = false, focused = 0, drawn = "";
  const input = h("input", { type: "search", id: "search", autocomplete: "off", spellcheck: "false", "aria-describedby": "search-hint",
    oninput: () => search(), onkeydown: (event) => { if (event.key === "ArrowDown" && shown.length) { event.preventDefault(); focusRow(0); } } });
  const count = h("p", { class: "count", role: "status" }, text.loading);
  const rows = h("div", { class: "rows", role: "list", "aria-label": text.itemList });
  const scroller = h("div", { class: "scroller", onscroll: () => draw(), onkeydown: moved }, rows);
  const note = h("p", { class: "note", hidden: true });

  const rowHeight = () => ROW_REM * parseFloat(getComputedStyle(document.documentElement).fontSize);

  function draw(force) {
    const height = rowHeight(), top = scroller.scrollTop;
    const from = Math.max(0, Math.floor(top / height) - SPARE);
    const to = Math.min(shown.length, Math.ceil((top + (scroller.clientHeight || 600)) / height) + SPARE);
    const key = `${from}-${to}-${height}`;
    if (!force && key === drawn) return;
    drawn = key;
    const kept = document.activeElement?.dataset?.n;
    rows.style.height = `${shown.length * height}px`;
    fill(rows, shown.slice(from, to).map((item, i) => row(item, from + i, height)));
    if (kept !== undefined && +kept >= from && +kept < to) rows.querySelector(`[data-n="${kept}"]`)?.focus({ preventScroll: true });
  }

  function row(item, n, height) {
    const element = h("div", { class: "row", role: "listitem", "aria-setsize": shown.length, "aria-posinset": n + 1 },
      h("a", { href: `#/vaults/${vault.id}/items/${item.id}`, "data-n": n, tabindex: n === focused ? 0 : -1, onfocus: () => { focused = n; } },
        h("span", { class: "row-title" }, name(item.title || text.unnamed)),
        h("span", { class: "row-meta" }, h("span", {}, category(item.category)),
          (item.tags ?? []).slice(0, 4).map((tag) => name(tag, { class: "tag" })),
          h("span", { class: "row-when" }, h("span", { class: "row-version" }, text.version(item.version), " · "), when(item.updatedAt)))));
    element.style.transform = `translateY(${n * height}px)`;
    return element;
  }

  function focusRow(n) {
    focused = Math.max(0, Math.min(shown.length - 1, n));
    const height = rowHeight(), top = focused * height;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + height > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + height - scroller.clientHeight;
    draw(true);
    rows.querySelector(`[data-n="${focused}"]`)?.focus({ preventScroll: true });
  }

  function moved(event) {
    const page = Math.max(1, Math.floor(scroller.clientHeight / rowHeight()) - 1);
    const to = { ArrowDown: focused + 1, ArrowUp: focused - 1, PageDown: focused + page, PageUp: focused - page, Home: 0, End: shown.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (event.key === "ArrowUp" && focused === 0) input.focus();
    else focusRow(to);
  }

  function search() {
    const words = input.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    shown = words.length ? all.filter((item) => words.every((word) => item.text.includes(word))) : all;
    focused = 0;
    scroller.scrollTop = 0;
    update();
  }

  function update() {
    count.textContent = done ? text.found(shown.length, all.length) : text.reading(all.length);
    note.hidden = !done || shown.length > 0;
    note.textContent = all.length ? text.nothingFound : text.emptyVault;
    draw(true);
  }

  async function load() {
    const fresh = [];
    const first = all.length === 0;
    done = !first;
    for await (const part of elements(`${vaultPath(vault.id)}/items`, signal)) {
      for (const item of part) fresh.push(compact(item));
      if (first) {
        all = fresh;
        if (!input.value) { shown = all; update(); } else search();
      }
    }
    all = fresh;
    done = true;
    input.value ? search() : ((shown = all), update());
    if (first) say(text.items(all.length));
  }

  /** Brings one item of the list up to date. */
  async function refresh(type, event) {
    if (event.vault !== vault.id) return;
    if (!event.item) return;
    let item = null;
    try {
      const outline = type !== "item.deleted" && await get(`${itemPath(vault.id, event.item)}/outline`, { signal });
      if (outline && !outline.state) item = compact(outline);
    } catch (error) {
      if (error.status !== 404) return;
    }
    const at = all.findIndex((known) => known.id === event.item);
    all = all.slice();
    if (item && at >= 0) all[at] = item;
    else if (item) all.push(item);
    else if (at >= 0) all.splice(at, 1);
    const top = scroller.scrollTop, kept = focused;
    search();
    scroller.scrollTop = top;
    focused = kept;
    update();
  }

  const resized = new ResizeObserver(() => draw(true));
  resized.observe(scroller);
  signal.addEventListener("abort", () => resized.disconnect());
  const element = h("section", { class: "list-view" },
    h("p", { class: "crumbs" }, h("a", { href: "#/vaults" }, text.back(text.vaults))),
    h("div", { class: "title-line" }, h("h1", { tabindex: "-1" }, name(vault.name)),
      rights.write && h("a", { class: "button", href: `#/vaults/${vault.id}/new` }, text.newItem)),
    h("div", { class: "search" }, h("label", { for: "search" }, text.search), input),
    h("p", { id: "search-hint", class: "quiet-text" }, text.searchHint), count, note, scroller);
  return { element, load, changed: (type, event) => (type === "reset" ? load() : refresh(type, event)), title: visible(vault.name) };
}
