// Keys, the time that a case is held, and live counts. Every page works without this file.

const { body } = document;
const status = document.getElementById("status");
const answer = document.getElementById("answer");
const READ_MS = 300;

// A key that was meant for the page before decides nothing on this one, be it held or pressed twice.
setTimeout(() => { body.dataset.ready = "on"; }, READ_MS);

function typing(target) {
  return target.closest("input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]") !== null;
}

// Single letters act unless somebody types, or has switched them off. Each has a visible control of its own.
document.addEventListener("keydown", (event) => {
  if (event.repeat && event.key === "Enter") event.preventDefault();
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (body.dataset.keys !== "on" || typing(event.target)) return;
  if (event.key === "Enter" && event.target.closest("a, button, summary")) return;
  const control = document.querySelector(`[aria-keyshortcuts="${CSS.escape(event.key)}"]`);
  if (!control) return;
  event.preventDefault();
  if (body.dataset.ready !== "on") return;
  const veil = document.querySelector("details.veil");
  // Nobody decides on a text before it is shown: Enter shows it first.
  if (veil && (event.key === "v" || (event.key === "Enter" && !veil.open))) {
    veil.open = !veil.open;
    if (veil.open) document.getElementById("post").focus(); // so that Enter does not veil it again
    return;
  }
  control.focus();
  if (!control.matches("[data-focus]")) control.click();
});

// Every sign of life extends the lease, at most once in some seconds. Nothing is lost when it ends.
const lease = document.getElementById("lease");
if (lease && answer) {
  let left = Number(lease.dataset.left);
  let asked = 0;
  const csrf = answer.elements.namedItem("csrf").value;
  const said = lease.textContent.replace(/\d+/, "{count}");

  async function hold() {
    asked = 0;
    const form = new URLSearchParams({ csrf });
    try {
      const reply = await fetch(lease.dataset.hold, { method: "POST", body: form, headers: { accept: "application/json" } });
      const told = await reply.json();
      if (told.left_s !== null) {
        left = Math.floor(told.left_s);
        status.textContent = "";
        return;
      }
    } catch {
      return; // the next sign of life asks again
    }
    left = 0;
    status.textContent = lease.dataset.lost;
  }

  setInterval(() => {
    left = Math.max(0, left - 1);
    asked += 1;
    lease.textContent = said.replace("{count}", left);
    if (left === 30) status.textContent = lease.dataset.warning;
    if (left === 0) status.textContent = lease.dataset.lost;
  }, 1000);
  for (const sign of ["keydown", "pointerdown", "scroll"]) {
    document.addEventListener(sign, () => { if (asked >= 10 && left > 0) hold(); }, { passive: true });
  }
}

// Counts follow what happens. The browser connects again by itself.
const live = document.querySelector("[data-live]");
if (live) {
  const source = new EventSource(live.dataset.live);
  source.addEventListener("message", (event) => {
    for (const [name, count] of Object.entries(JSON.parse(event.data))) {
      const place = live.querySelector(`[data-count="${CSS.escape(name)}"]`);
      if (place) place.textContent = count;
    }
  });
  source.addEventListener("ended", () => source.close());
  addEventListener("pagehide", () => source.close());
}
