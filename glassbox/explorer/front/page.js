// The page host: a `model` for explorer.js that speaks to the server which sent this page.

import explorer from "./explorer.js";

const RETRY = 1000; // milliseconds between two attempts to reach a server that is gone
const GONE =
  "The server does not answer. This page goes on by itself when it is back; if it was started anew, " +
  "open the address that it printed.";

const listeners = new Set();
const notice = document.getElementById("notice");
let events = null;

function tell(message) {
  for (const listener of listeners) listener(message, []);
}

function lost() {
  notice.textContent = GONE;
}

function found() {
  if (!notice.textContent) return;
  notice.textContent = "";
  tell({ event: "networks" }); // whatever was missed meanwhile is asked for again
}

async function ask(message) {
  let reply;
  try {
    const response = await fetch("ask", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(message),
    });
    reply = await response.json();
  } catch {
    lost();
    reply = { error: "the server does not answer" };
  }
  tell({ id: message.id, ...reply });
}

// One open connection for each visible tab: a browser allows six in all, and hidden tabs can do without.
function listen() {
  events?.close();
  if (document.hidden) return;
  const mine = (events = new EventSource("events"));
  mine.onopen = found;
  mine.onmessage = ({ data }) => tell(JSON.parse(data));
  mine.onerror = () => {
    if (mine !== events || document.hidden) return;
    lost();
    mine.close();
    setTimeout(listen, RETRY);
  };
}

document.addEventListener("visibilitychange", () => {
  listen();
  if (!document.hidden) tell({ event: "networks" });
});
listen();
explorer.render({
  model: {
    send: ask,
    on: (_, listener) => listeners.add(listener),
    off: (_, listener) => listeners.delete(listener),
  },
  el: document.getElementById("explorer"),
});
