// The form for a new item, and for a change of one. Nothing that was typed is lost if somebody else saves meanwhile.
import { get, itemPath, request, vaultPath } from "./api.js";
import { ago, ask, fill, h, name, say, visible } from "./dom.js";
import { category } from "./items.js";
import { text } from "./strings.js";

const CATEGORIES = ["LOGIN", "PASSWORD", "API_CREDENTIAL", "DATABASE", "SERVER", "SSH_KEY", "SECURE_NOTE", "BANK_ACCOUNT", "CREDIT_CARD", "DRIVER_LICENSE",
  "EMAIL_ACCOUNT", "IDENTITY", "MEDICAL_RECORD", "MEMBERSHIP", "OUTDOOR_LICENSE", "PASSPORT", "REWARD_PROGRAM", "SOCIAL_SECURITY_NUMBER", "SOFTWARE_LICENSE",
  "WIRELESS_ROUTER"];
const TYPES = ["CONCEALED", "STRING", "URL", "EMAIL", "OTP", "DATE", "MONTH_YEAR", "PHONE", "ADDRESS"];
const SETS = ["LETTERS", "DIGITS", "SYMBOLS"];

const username = { id: "username", label: "username", type: "STRING", purpose: "USERNAME", value: "" };
const password = { id: "password", label: "password", type: "CONCEALED", purpose: "PASSWORD", value: "" };
/** The fields that a new item begins with. */
const usual = (kind) => ({ LOGIN: [username, password], PASSWORD: [password], SECURE_NOTE: [{ label: "note", type: "STRING", value: "" }] }[kind]
  ?? [{ label: "", type: "CONCEALED", value: "" }]);

/** Whether the server says that the item is no longer the version that this form began with. */
const isConflict = (error) => error.status === 412 || error.status === 409;

let last = 0;
const fresh = (what) => `${what}-${(last += 1)}`;

/** A label and its control. */
function labelled(label, control, hint) {
  control.id ||= fresh("edit");
  const hintId = hint && `${control.id}-hint`;
  if (hint) control.setAttribute("aria-describedby", hintId);
  return h("div", { class: "labelled" }, h("label", { for: control.id }, label), control, hint && h("p", { id: hintId, class: "quiet-text" }, hint));
}

const line = (value, more = {}) => {
  const input = h("input", { type: "text", autocomplete: "off", spellcheck: "false", ...more });
  input.value = value;
  return input;
};
const area = (value, more = {}) => {
  const box = h("textarea", { rows: 1, autocomplete: "off", autocapitalize: "off", spellcheck: "false", ...more });
  box.value = value;
  box.began = box.value;
  return box;
};
const tick = (label, checked, more = {}) => {
  const box = h("input", { type: "checkbox", id: fresh("edit"), ...more });
  box.checked = checked;
  return [h("div", { class: "check" }, box, h("label", { for: box.id }, label)), box];
};
const choose = (options, chosen) => {
  const select = h("select", {}, options.map(([value, shown]) => h("option", { value, selected: value === chosen }, shown)));
  return select;
};
const lines = (box) => box.value.split("\n").map((one) => one.trim()).filter(Boolean);

/** One field of the form. `was` is the field that the item has; a new field has no id. */
function fieldRow(was, sections, changed, remove) {
  const wasSection = sections.find((section) => section.id === was.section?.id)?.label ?? was.section?.label ?? "";
  const label = line(was.label ?? "");
  const type = choose([...new Set([...TYPES, was.type])].map((word) => [word, category(word)]), was.type);
  const section = line(wasSection);
  const value = area(was.value ?? "", { class: "value-box" });
  const show = h("button", { type: "button", class: "small quiet", "aria-pressed": "false", onclick: () => { hidden = !hidden; draw(); } });
  const [generateLine, generate] = tick(text.generate, false, { onchange: () => { changed(); draw(); } });
  const length = h("input", { type: "number", min: 1, max: 64, value: 32, required: true });
  const sets = SETS.map((set) => [set, ...tick(text.sets[set], true, { onchange: () => check() })]);
  const exclude = line("");
  const recipe = h("div", { class: "recipe", role: "group", "aria-label": text.recipe, hidden: true },
    labelled(text.length, length), h("div", { class: "sets" }, sets.map(([, box]) => box)), labelled(text.exclude, exclude, text.excludeHint));
  const legend = h("legend", {});
  const hint = h("p", { class: "quiet-text", id: fresh("edit") });
  const valueLabel = labelled(text.value, value);
  value.setAttribute("aria-describedby", hint.id);
  let hidden = true;

  const isSecret = () => type.value === "CONCEALED" || type.value === "OTP" || type.value === "SSHKEY";
  const check = () => sets[0][2].setCustomValidity(generate.checked && sets.every(([, , box]) => !box.checked) ? text.oneSet : "");
  function draw() {
    const shown = visible(label.value) || text.newField;
    legend.textContent = shown;
    show.textContent = hidden ? text.show : text.hide;
    show.setAttribute("aria-label", hidden ? text.showOf(shown) : text.hideOf(shown));
    show.setAttribute("aria-pressed", String(!hidden));
    away.setAttribute("aria-label", text.removeOf(shown));
    generateLine.hidden = type.value !== "CONCEALED";
    if (generateLine.hidden) generate.checked = false;
    recipe.hidden = !generate.checked;
    for (const control of recipe.querySelectorAll("input")) control.disabled = !generate.checked;
    valueLabel.hidden = generate.checked;
    show.hidden = !isSecret() || generate.checked;
    value.classList.toggle("masked", isSecret() && hidden);
    hint.textContent = text.typeHints[type.value] ?? "";
    hint.hidden = generate.checked || !hint.textContent;
    check();
  }
  const away = h("button", { type: "button", class: "small quiet", onclick: () => remove(row) }, text.remove);
  label.addEventListener("input", draw);
  type.addEventListener("change", draw);
  const element = h("fieldset", { class: "edit-field" }, legend,
    h("div", { class: "three" }, labelled(text.label, label), labelled(text.type, type), labelled(text.section, section)),
    valueLabel, hint, generateLine, recipe, h("p", { class: "field-actions" }, show, away));
  draw();
  const row = {
    element, label, was,
    get json() {
      const { id, purpose } = was;
      const place = section.value === wasSection ? was.section && { id: was.section.id, label: wasSection } : section.value && { label: section.value };
      const field = { id, purpose, label: label.value, type: type.value, section: place || undefined };
      if (generate.checked) {
        return { ...field, generate: true, recipe: { length: Number(length.value), characterSets: sets.filter(([, , box]) => box.checked).map(([set]) => set), excludeCharacters: exclude.value } };
      }
      // A text box makes \n of \r\n, so a value that nobody touched is sent as it was read.
      return { ...field, value: value.value === value.began ? was.value ?? "" : value.value };
    },
    get isEmpty() { return !label.value && !value.value && !generate.checked; },
  };
  return row;
}

/** The form. `item` is the item with its values, or null for a new one; `tag` its entity tag; `done` gets the item's id, or null. */
export function itemForm({ vault, item, tag, done, signal }) {
  const was = item ?? { title: "", category: "LOGIN", tags: [], urls: [], sections: [], fields: usual("LOGIN") };
  let dirty = false, saving = false, base = item?.version;
  const changed = () => { dirty = true; };
  const title = line(was.title, { required: !item });
  const kinds = CATEGORIES.includes(was.category) ? CATEGORIES : [...CATEGORIES, was.category];
  const kind = choose(kinds.map((word) => [word, category(word)]), was.category);
  const tags = area((was.tags ?? []).join("\n")), urls = area((was.urls ?? []).map((url) => url.href).join("\n"));
  const list = h("div", {});
  let rows = [];
  const problem = h("div", { class: "problem", role: "alert", tabindex: "-1" });
  const save = h("button", { type: "submit", class: "primary" }, item ? text.save : text.create);
  const form = h("form", { class: "edit", oninput: changed, onchange: changed, onsubmit: (event) => { event.preventDefault(); send(); } },
    h("div", { class: "three" }, labelled(text.title, title), labelled(text.category, kind)),
    h("div", { class: "three" }, labelled(text.tags, tags, text.onePerLine), labelled(text.addresses, urls, text.onePerLine)),
    h("h2", {}, text.fields), list,
    h("p", {}, h("button", { type: "button", class: "small", onclick: () => { changed(); add({ type: "CONCEALED", value: "" }).label.focus(); } }, text.addField)),
    problem, h("p", { class: "actions" }, h("button", { type: "button", class: "quiet", onclick: leave }, text.cancel), save));

  function add(field) {
    const row = fieldRow(field, was.sections ?? [], changed, remove);
    rows.push(row);
    list.append(row.element);
    return row;
  }
  function remove(row) {
    const at = rows.indexOf(row);
    changed();
    rows.splice(at, 1);
    row.element.remove();
    say(text.removedField(visible(row.label.value) || text.newField));
    (rows[at] ?? rows[at - 1])?.label.focus();
    if (!rows.length) form.querySelector("h2 ~ p button").focus();
  }
  const begin = (fields) => {
    rows = [];
    fill(list, []);
    fields.forEach(add);
  };
  begin(was.fields ?? []);
  if (!item) kind.addEventListener("change", () => { if (rows.every((row) => row.isEmpty || row.json.value === "")) begin(usual(kind.value)); });

  function body() {
    const hrefs = lines(urls);
    return {
      ...(item && { id: item.id, favorite: item.favorite, sections: item.sections }),
      vault: { id: vault.id }, title: title.value, category: kind.value,
      tags: tags.value === tags.began ? was.tags ?? [] : lines(tags),
      urls: urls.value === urls.began ? was.urls ?? [] : hrefs.map((href) => (was.urls ?? []).find((url) => url.href === href) ?? { href }),
      fields: rows.filter((row) => !row.isEmpty || row.was.id).map((row) => row.json),
    };
  }

  async function send(asNew) {
    if (saving) return;
    saving = true;
    save.disabled = true;
    fill(problem, []);
    try {
      const isNew = !item || asNew;
      const { id, ...rest } = body();
      const response = await request(isNew ? `${vaultPath(vault.id)}/items` : itemPath(vault.id, item.id),
        { method: isNew ? "POST" : "PUT", body: isNew ? rest : { id, ...rest }, headers: !isNew && tag ? { "If-Match": tag } : {}, signal });
      dirty = false;
      done((await response.json()).id);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (item && isConflict(error) && await conflict().catch(() => false)) return;
      if (item && error.status === 404) explain(text.deletedMeanwhile, h("button", { type: "button", class: "small", onclick: () => send(true) }, text.saveAsNew));
      else explain(error.status === 0 ? text.notSaved : text.failed(visible(error.message)));
    } finally {
      saving = false;
      save.disabled = false;
    }
  }
  function explain(...parts) {
    fill(problem, parts.map((part) => (typeof part === "string" ? h("p", {}, part) : part)));
    problem.focus();
  }

  /** Names the version that was saved meanwhile, and what it changed. The form stays as it is. Resolves to whether there is one. */
  async function conflict() {
    const response = await request(`${itemPath(vault.id, item.id)}/outline`, { signal });
    const now = await response.json(), newTag = response.headers.get("ETag");
    if (now.version === base) return false;
    const [found, tokens] = await Promise.all([get(`${itemPath(vault.id, item.id)}/versions/${now.version}/differences?with=${base}`, { signal }).catch(() => null),
      get("/v1/tokens", { signal }).catch(() => [])]);
    const by = tokens.find((token) => token.jti.toUpperCase() === now.lastEditedBy?.toUpperCase());
    const parts = (found?.fields ?? []).map((field) => h("li", {}, name(field.label || field.id), ` (${text.change[field.change]})`));
    parts.push(...(found?.parts ?? []).map((part) => h("li", {}, text.parts[part] ?? part)));
    fill(problem, [h("h3", {}, text.conflict(now.version)),
      h("p", {}, text.conflictBy(ago(now.updatedAt)), by && [" ", text.conflictToken, " ", name(by.name || by.jti)], "."),
      parts.length > 0 && [h("p", {}, text.conflictChanged), h("ul", {}, parts)],
      h("p", {}, text.conflictKept),
      h("p", { class: "actions" },
        h("button", { type: "button", class: "small quiet", onclick: () => { dirty = false; done(null); } }, text.takeTheirs(now.version)),
        h("button", { type: "button", class: "small", onclick: () => { tag = newTag; base = now.version; send(); } }, text.saveMine))]);
    problem.focus();
    return true;
  }

  async function leave() {
    if (await mayLeave()) done(null);
  }
  /** Asks before what was typed is thrown away. */
  async function mayLeave() {
    if (!dirty) return true;
    const agreed = await ask({ title: text.discardTitle, lead: text.discardLead, confirm: text.discard, cancel: text.keepEditing });
    if (agreed) dirty = false;
    return agreed;
  }
  const warn = (event) => { if (dirty) event.preventDefault(); };
  addEventListener("beforeunload", warn);
  signal.addEventListener("abort", () => removeEventListener("beforeunload", warn));

  return { element: form, mayLeave, focus: () => title.focus(), changedMeanwhile: () => { if (!saving) conflict().catch(() => {}); } };
}

/** The view for a new item. */
export function newItemView(vault, signal) {
  const back = `#/vaults/${vault.id}`;
  const form = itemForm({ vault, item: null, signal, done: (id) => {
    location.hash = id ? `${back}/items/${id}` : back;
    if (id) say(text.saved);
  } });
  const element = h("section", {}, h("p", { class: "crumbs" }, h("a", { href: back }, text.back(visible(vault.name)))),
    h("h1", { tabindex: "-1" }, text.newItem), form.element);
  return { element, load: async () => form.focus(), changed: () => {}, mayLeave: form.mayLeave, title: text.newItem };
}
