// Keys, and the time that a case is held. Every page works without this file.

const status = document.getElementById("status");
const answer = document.getElementById("answer");

function typing(target) {
  return target.closest("input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]") !== null;
}

// Single letters act unless somebody types, or has switched them off. Each has a visible control of its own.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.body.dataset.keys !== "on" || typing(event.target)) return;
  if (event.key === "Enter" && event.target.closest("a, button, summary")) return;
  const control = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!control) return;
  event.preventDefault();
  control.focus();
  control.click();
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
    const body = new URLSearchParams({ csrf });
    try {
      const reply = await fetch(lease.dataset.hold, { method: "POST", body, headers: { accept: "application/json" } });
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
