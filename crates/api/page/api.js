// Talks to the server. The token is in a variable of this module, and nowhere else unless the user wants that.

let token = null;
const KEPT = "sidevault-token";
const listeners = new Map();

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function on(kind, listener) {
  listeners.set(kind, listener);
}

export function signIn(text, keep) {
  token = text;
  if (keep) sessionStorage.setItem(KEPT, text);
}

export function signOut() {
  token = null;
  sessionStorage.removeItem(KEPT);
  events?.abort();
  events = null;
}

export function isSignedIn() {
  token ??= sessionStorage.getItem(KEPT);
  return token !== null;
}

/** Exchanges the code in the address for a token, and removes it from the address and the history first. */
export async function redeem() {
  const found = location.hash.match(/^#code=([\w-]+)$/);
  if (!found) return;
  history.replaceState(null, "", location.pathname);
  const response = await fetch("/ui/session", {
    method: "POST", cache: "no-store", credentials: "omit",
    headers: { "Content-Type": "application/json" }, body: JSON.stringify({ code: found[1] }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Refused(response.status, answer.message);
  token = answer.token;
}

/** A response, or an error that the views show. */
export async function request(path, { method = "GET", body, headers: more, signal } = {}) {
  let response;
  const headers = { Authorization: `Bearer ${token}`, ...more };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    listeners.get("offline")?.(true);
    throw new Refused(0, "the server can't be reached");
  }
  listeners.get("offline")?.(false);
  if (response.status === 401) {
    listeners.get("refused")?.();
    throw new Refused(401, "the token was refused");
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new Refused(response.status, answer.message ?? `status ${response.status}`);
  }
  return response;
}

export async function get(path, options) {
  return (await request(path, options)).json();
}

export const vaultPath = (vault) => `/v1/vaults/${encodeURIComponent(vault)}`;
export const itemPath = (vault, item) => `${vaultPath(vault)}/items/${encodeURIComponent(item)}`;

/** The elements of a JSON array, in groups, as they arrive: a vault may have 100,000 items. */
export async function* elements(path, signal) {
  const reader = (await request(path, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", at = 0, depth = 0, inString = false, start = -1, end = -1;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    for (; at < rest.length; at++) {
      const c = rest.charCodeAt(at);
      if (inString) {
        if (c === 92) at++;
        else if (c === 34) inString = false;
      } else if (c === 34) inString = true;
      else if (c === 123) { if (depth++ === 0 && start < 0) start = at; }
      else if (c === 125 && --depth === 0) end = at + 1;
    }
    if (end > 0) {
      yield JSON.parse(`[${rest.slice(start, end)}]`);
      rest = rest.slice(end);
      at -= end;
      start = end = -1;
      if (depth > 0) start = rest.indexOf("{");
    }
  }
}

let events = null;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Follows the server's events, over and over, until [`signOut`]. EventSource can't send a token, so this reads the stream itself. */
export async function follow(onEvent) {
  events?.abort();
  const control = (events = new AbortController());
  let last = null, wait = 1000;
  while (!control.signal.aborted) {
    try {
      const path = last === null ? "/v1/events" : `/v1/events?lastEventId=${encodeURIComponent(last)}`;
      const reader = (await request(path, { signal: control.signal })).body.pipeThrough(new TextDecoderStream()).getReader();
      wait = 1000;
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        rest += value;
        const blocks = rest.split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
          const event = { type: null, data: "" };
          for (const line of block.split("\n")) {
            if (line.startsWith("id:")) last = line.slice(3).trim();
            else if (line.startsWith("event:")) event.type = line.slice(6).trim();
            else if (line.startsWith("data:")) event.data += line.slice(5).trim();
          }
          if (event.type) onEvent(event.type, JSON.parse(event.data || "{}"));
        }
      }
    } catch (error) {
      if (error.status === 401 || control.signal.aborted) return;
    }
    await pause(wait);
    wait = Math.min(wait * 2, 15000);
  }
}
