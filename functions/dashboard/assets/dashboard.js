// What pages gain where scripts run. Every page works without; what needs this file is `hidden` in the markup.
//
// <button type="button" data-copy="ID" hidden>   copies the text of the element with that id, and says so
// <dialog open data-modal>                       is modal; closing it follows its link [data-done]
// <form data-once>                               is sent once, also where its button is clicked twice
//
// And it says beside a form of htmx's that no answer came, or none that htmx can show.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  const said = document.createElement("span");
  said.className = "said";
  said.setAttribute("role", "status");
  button.after(said);
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    said.textContent = "";
    try {
      await navigator.clipboard.writeText(source.textContent);
      said.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      said.textContent = "Selected. Copy it with your keyboard.";
    }
  });
}

for (const dialog of document.querySelectorAll("dialog[data-modal]")) {
  dialog.removeAttribute("open");
  dialog.showModal();
  // A slip of the finger must not lose what is shown once. Browsers let nobody cancel the second Escape's `cancel`.
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.addEventListener("keydown", (event) => event.key === "Escape" && event.preventDefault());
  dialog.addEventListener("close", () => location.assign(dialog.querySelector("[data-done]").href));
}

for (const form of document.querySelectorAll("form[data-once]")) {
  let sent = -Infinity;
  form.addEventListener("submit", (event) => {
    // Whoever waited longer for an answer means it.
    if (event.timeStamp - sent < 10000) event.preventDefault();
    else sent = event.timeStamp;
  });
}

/** Says in front of a form what went wrong, instead of what was said before; nothing without a text. */
function say(form, text) {
  if (form.previousElementSibling?.matches("[data-failed]")) form.previousElementSibling.remove();
  if (!text) return;
  const said = document.createElement("p");
  said.className = "problem";
  said.dataset.failed = "";
  said.setAttribute("role", "alert");
  said.textContent = text;
  form.before(said);
}

document.addEventListener("htmx:before:request", ({ detail }) => say(detail.ctx.sourceElement));
document.addEventListener("htmx:error", ({ detail }) => {
  // One without a request is an error in a page of ours.
  if (detail.ctx) say(detail.ctx.sourceElement, "No connection. Nothing was changed. Try again.");
});
document.addEventListener("htmx:before:swap", (event) => {
  const { ctx, tasks } = event.detail;
  // An answer without what is to be replaced, as of somebody on the way to us, would leave a hole in the page.
  if (!tasks.some(({ type, fragment }) => type === "main" && !fragment.childElementCount)) return;
  event.preventDefault();
  say(ctx.sourceElement, "Something went wrong. Nothing was changed. Try again in a minute.");
});

// Who comes back from another site may find the page as it was left: busy.
addEventListener("pageshow", ({ persisted }) => persisted && document.querySelector(".htmx-request") && location.reload());
