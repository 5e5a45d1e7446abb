// What pages gain where scripts run. Every page works without; what needs this file is `hidden` in the markup.
//
// <button type="button" data-copy="ID" hidden>   copies the text of the element with that id, and says so
// <dialog open data-modal>                       is modal; closing it follows its link [data-done]
// <form data-once>                               is sent once, also where its button is clicked twice
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
