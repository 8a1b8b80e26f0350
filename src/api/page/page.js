// Keeps the page true. The server writes every part of it; this script hears of a change, asks for the parts whose sum differs
// from the one it has, and moves the differences in. One stream of events serves all tabs of a browser: the tab that holds the
// lock listens and tells the others. Text becomes text nodes only.

const SILENT_MS = 20_000; // so long without a word, and what is shown is no longer live
const POLL_MS = 5_000; // how often is asked while no stream is there
const QUIET_MS = 12_000; // the stream says something every 10 s
const HIDDEN_MS = 30_000; // how often a tab that nobody looks at brings its title up to date
const GAP_MS = 100; // the shortest pause between two updates
const SAID_MS = 15_000; // the shortest pause between two words to a screen reader

const body = document.body;
const by = (id) => document.getElementById(id);
const assets = body.dataset.assets;

let skew = Date.parse(body.dataset.now) - Date.now(); // their clock minus ours
let heard = Date.now(); // when something was last heard
let asked = 0; // when it was last asked for parts
let boot = null;

// ---- the parts

let busy = false;
let again = false;
let later = null;
let took = 0;

function refresh() {
  if (document.hidden && Date.now() - asked < HIDDEN_MS) return;
  if (busy) {
    again = true;
    return;
  }
  const wait = Math.max(GAP_MS, 2 * took) - (Date.now() - asked);
  if (wait > 0) {
    later ??= setTimeout(() => { later = null; refresh(); }, wait);
    return;
  }
  fetchParts();
}

async function fetchParts() {
  busy = true;
  again = false;
  asked = Date.now();
  try {
    const have = [...document.querySelectorAll("main > [data-mark]")].map((part) => `${part.id}.${part.dataset.mark}`);
    const url = new URL(location.href);
    url.hash = "";
    url.searchParams.set("parts", have.join("~"));
    const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(10_000) });
    const gone = Boolean(by("nothing"));
    if (answer.headers.get("x-hubless-assets") !== assets || (answer.status === 404) !== gone) {
      // Another program answers here, or what the page shows came or went; an answer that is none of ours is no news.
      if (answer.headers.has("x-hubless-assets")) location.reload();
      return;
    }
    if (!answer.ok && !gone) return;
    const text = await answer.text();
    const begun = performance.now();
    if (text) take(text);
    took = performance.measure("hubless-update", { start: begun }).duration;
    skew = Date.parse(answer.headers.get("x-hubless-now")) - Date.now();
    alive();
    if (source === null && leading) listen();
  } catch {
    // Nobody answers: the clock below says so when it lasts.
  } finally {
    busy = false;
    if (again) refresh();
  }
}

function take(text) {
  const focused = document.activeElement;
  for (const part of new DOMParser().parseFromString(text, "text/html").body.children) {
    const shown = by(part.id);
    if (shown) become(shown, part);
    else by("main").append(document.importNode(part, true));
  }
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
  name();
  ages();
}

// Makes `shown` what `next` is, leaving alone what is the same. Rows are known by their data-key, so that what a person has
// opened, focused or marked stays where it is.
function become(shown, next) {
  for (const { name } of [...shown.attributes]) {
    if (!next.hasAttribute(name) && !(name === "open" && shown.localName === "details")) shown.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (!name.startsWith("on") && shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
  const keyed = new Map();
  for (const child of shown.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let at = shown.firstChild;
  for (const child of [...next.childNodes]) {
    const key = child.dataset?.key;
    const match = key ? keyed.get(key) : alike(at, child) ? at : null;
    if (!match) {
      shown.insertBefore(document.importNode(child, true), at);
      continue;
    }
    if (match === at) at = at.nextSibling;
    else shown.insertBefore(match, at);
    if (match.nodeType === Node.TEXT_NODE) {
      if (match.data !== child.data) match.data = child.data;
    } else if (!match.isEqualNode(child)) become(match, child);
  }
  while (at) {
    const rest = at.nextSibling;
    at.remove();
    at = rest;
  }
}

function alike(shown, next) {
  if (!shown || shown.nodeName !== next.nodeName || shown.nodeType !== next.nodeType) return false;
  return shown.nodeType === Node.TEXT_NODE || (!shown.dataset.key && shown.id === next.id);
}

// ---- the stream: one for all tabs

const others = new BroadcastChannel("hubless");
let leading = null; // ends our turn as the tab that listens
let source = null;
let tries = 0;
let retry = null;
let retryAt = 0;

function listen() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource("/api/v3/events");
  const tell = (kind, data = {}) => {
    const word = { kind, ...data };
    others.postMessage(word);
    hear(word);
  };
  source.addEventListener("hello", (event) => {
    tries = 0;
    const { boot, assetHash } = JSON.parse(event.data);
    tell("hello", { boot, assets: assetHash });
  });
  for (const kind of ["tick", "resync"]) source.addEventListener(kind, () => tell(kind));
  for (const kind of ["agent", "device", "session", "todo", "conflict", "alert", "sync"]) {
    source.addEventListener(kind, () => tell("change"));
  }
  source.onerror = () => {
    // Any answer but 200 closes a stream for good, so it is opened anew by hand, after 1, 2, 4, … 30 s.
    source?.close();
    source = null;
    const pause = Math.min(30, 2 ** tries++) * 1000;
    retryAt = Date.now() + pause;
    clearTimeout(retry);
    if (leading) retry = setTimeout(listen, pause);
  };
}

function hear({ kind, boot: theirs, assets: theirAssets }) {
  if (kind === "looked-at") return;
  if (theirAssets && theirAssets !== assets) return location.reload();
  if (theirs) boot = theirs;
  alive();
  refresh();
}

others.onmessage = (event) => hear(event.data);

let queued = null;

function queue() {
  if (queued || leading || document.hidden) return;
  if (!navigator.locks) {
    leading = () => {};
    return listen();
  }
  queued = new AbortController();
  navigator.locks
    .request("hubless-events", { signal: queued.signal }, () => {
      queued = null;
      if (document.hidden) return undefined;
      return new Promise((done) => {
        leading = () => {
          leading = null;
          clearTimeout(retry);
          source?.close();
          source = null;
          done();
        };
        listen();
      });
    })
    .catch(() => { queued = null; });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    queued?.abort();
    queued = null;
    if (navigator.locks) leading?.();
    return;
  }
  queue();
  asked = 0;
  refresh();
});

// ---- what time alone changes

function alive() {
  heard = Date.now();
  live();
}

function live() {
  const silent = Date.now() - heard;
  const is = silent <= (document.hidden ? 3 * HIDDEN_MS : SILENT_MS);
  if (body.dataset.live !== String(is)) {
    body.dataset.live = is;
    by("cut").hidden = is;
    by("live").replaceChildren(text("span", "sym", is ? "●" : "✕"), text("span", "", is ? " live" : " not live"), text("span", "ago", ""));
    by("live").firstChild.ariaHidden = true;
    by("live").lastChild.ariaHidden = true;
    by("live").classList.toggle("bad", !is);
    name();
    if (!is) say("Not live: the daemon does not answer.");
  }
  if (is) {
    by("live").lastChild.textContent = `, ${span(silent)} ago`;
  } else {
    const next = Math.max(1, Math.ceil((asked + POLL_MS - Date.now()) / 1000));
    by("cut").textContent = `Not live: last update ${new Date(heard).toLocaleTimeString([], { hour12: false })}, retrying in ${next} s`;
  }
}

function text(kind, mark, words) {
  const node = document.createElement(kind);
  if (mark) node.className = mark;
  node.textContent = words;
  return node;
}

// The same words as the server's.
function span(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3600), Math.floor(seconds / 86_400)];
  const two = (number) => String(number).padStart(2, "0");
  if (days) return `${days}d ${two(hours % 24)}h`;
  if (hours) return `${hours}h ${two(minutes % 60)}m`;
  return minutes ? `${minutes}m` : `${seconds}s`;
}

function ages() {
  const now = Date.now() + skew;
  for (const time of document.querySelectorAll("time[data-age]")) {
    const words = time.dataset.before + span(now - Date.parse(time.dateTime)) + time.dataset.after;
    if (time.firstChild.textContent !== words) time.firstChild.textContent = words;
  }
}

// The window's title and icon.
const DISC = { ok: "%23707880", attention: "%23c27a00", cut: "none' stroke='%23c22' stroke-width='3" };

function name() {
  const { title, state } = by("window")?.firstChild?.dataset ?? {};
  if (!title) return;
  const cut = body.dataset.live === "false";
  document.title = cut ? `⚠ ${title}` : title;
  const icon = `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><circle cx='8' cy='8' r='6' fill='${DISC[cut ? "cut" : state] ?? DISC.ok}'/></svg>`;
  const link = document.querySelector("link[rel=icon]");
  if (link.getAttribute("href") !== icon) link.setAttribute("href", icon);
  const words = by("verdict-h")?.textContent;
  if (words && words !== verdict) {
    if (verdict !== null) say(words);
    verdict = words;
  }
}

// For screen readers: a changed verdict, at most every 15 s, the last one counting.
let verdict = null;
let said = 0;
let saying = null;

function say(words) {
  clearTimeout(saying);
  saying = setTimeout(() => {
    said = Date.now();
    by("said").textContent = words;
  }, Math.max(0, said + SAID_MS - Date.now()));
}

setInterval(() => {
  live();
  if (body.dataset.live === "true" && !document.hidden) ages();
  const now = Date.now();
  if (now - heard > (source ? QUIET_MS : POLL_MS) && now - asked > POLL_MS) refresh();
}, 1_000);

// ---- what a person does

const themes = ["auto", "light", "dark"];

function theme(name) {
  const chosen = themes.includes(name) ? name : "auto";
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  by("theme").textContent = `Theme: ${chosen}`;
  return chosen;
}

let chosen = theme(localStorage.getItem("hubless-theme"));

by("theme").addEventListener("click", () => {
  chosen = theme(themes[(themes.indexOf(chosen) + 1) % themes.length]);
  localStorage.setItem("hubless-theme", chosen);
});

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("button.copy");
  if (copy) {
    try {
      await navigator.clipboard.writeText(copy.previousElementSibling.textContent);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(copy.previousElementSibling);
      copy.textContent = "Marked";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 1_500);
    return;
  }
  const soft = event.target.closest("a[data-soft]");
  if (soft && !event.metaKey && !event.ctrlKey && !event.shiftKey && event.button === 0) {
    event.preventDefault();
    history.replaceState(null, "", soft.getAttribute("href"));
    asked = 0;
    refresh();
  }
});

document.addEventListener("keydown", (event) => {
  const help = document.querySelector(".help[open]");
  if (event.key === "Escape" && help) {
    help.open = false;
    help.firstElementChild.focus();
  }
});

queue();
fetchParts();
