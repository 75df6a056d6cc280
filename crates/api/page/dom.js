// Makes elements. Text from the server gets into the page only as text.

/** An element. `attributes`: `on…` are listeners, `class` and others are attributes; null and false are left out. */
export function h(name, attributes, ...children) {
  return dress(document.createElement(name), attributes, children);
}

/** The same in a drawing. */
export function svg(name, attributes, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function dress(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  fill(element, children);
  return element;
}

export function fill(element, children) {
  element.replaceChildren(...[children].flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// What identifies a link or a control of a view after it was drawn again.
const IDENTITIES = ["id", "href", "aria-label"];

/**
 * A function that fills `element` with what `draw` makes of data, whenever the data differ from the last ones. What did not change
 * stays as it is, so that a click on it is not lost; otherwise the new element of what had the focus gets it.
 */
export function drawing(element, draw) {
  let drawn = null;
  return (...data) => {
    const now = JSON.stringify(data);
    if (now === drawn) return;
    drawn = now;
    const focused = element.contains(document.activeElement) ? document.activeElement : null;
    fill(element, draw(...data));
    const identity = IDENTITIES.find((attribute) => focused?.hasAttribute(attribute));
    if (identity) element.querySelector(`[${identity}="${CSS.escape(focused.getAttribute(identity))}"]`)?.focus({ preventScroll: true });
  };
}

// Characters that show nothing, or change the order of others: controls, marks of direction, joiners, tags, variation
// selectors, blanks that are no space.
const DECEPTIVE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0\u{e0000}-\u{e0fff}]|(?<!\p{Extended_Pictographic})[\ufe0e\ufe0f]/gu;

/** A title or label from the server with its invisible characters written out. */
export function visible(string) {
  return String(string ?? "").replace(DECEPTIVE, (c) => `‹U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}›`);
}

/** The same in an element of its own, so that its direction does not change the text around it. */
export function name(string, attributes) {
  return h("bdi", attributes, visible(string));
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

export function ago(time) {
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  if (Number.isNaN(seconds)) return "";
  if (Math.abs(seconds) < 5) return "just now";
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? UNITS.at(-1);
  return relative.format(Math.trunc(seconds / length), unit);
}

export function when(time) {
  if (!time) return null;
  return h("time", { datetime: time, title: time }, ago(time));
}

// The times on the page go on by themselves.
setInterval(() => {
  for (const time of document.querySelectorAll("time")) {
    const shown = ago(time.dateTime);
    if (time.textContent !== shown) time.textContent = shown;
  }
}, 1000);

/** Lets a screen reader say something. */
export function say(message) {
  document.getElementById("said")?.replaceChildren(message);
}

/** A text as people type what they read: a browser shows several blanks as one. */
const typed = (string) => string.trim().replace(/\s+/g, " ");

/** Asks before something that changes the server. With `word`, the user has to type it. Resolves to whether they agreed. */
export function ask({ title, lead, confirm, cancel, word, wordLabel }) {
  return new Promise((resolve) => {
    const agree = h("button", { type: "submit", class: "danger", disabled: Boolean(word) }, confirm);
    const input = word && h("input", { type: "text", id: "ask-word", autocomplete: "off", spellcheck: "false",
      oninput: () => { agree.disabled = typed(input.value) !== typed(word); } });
    let agreed = false;
    const dialog = h("dialog", { "aria-labelledby": "ask-title", onclose: () => { dialog.remove(); resolve(agreed); } },
      h("form", { onsubmit: (event) => { event.preventDefault(); agreed = true; dialog.close(); } },
        h("h2", { id: "ask-title" }, title),
        [lead].flat().map((line) => h("p", {}, line)),
        word && h("p", {}, h("label", { for: "ask-word" }, wordLabel), input),
        h("p", { class: "actions" },
          h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, cancel), agree)));
    document.body.append(dialog);
    dialog.showModal();
  });
}
