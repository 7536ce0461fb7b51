// @ts-check
// While a run goes on, its page is loaded again and its content replaced.
"use strict";
(() => {
  const EVERY = 2000; // milliseconds between two looks
  const content = /** @type {HTMLElement} */ (document.querySelector("main"));
  const look = async () => {
    try {
      const answer = await fetch(new URL("live.html", location.href), { cache: "no-store" });
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = next.querySelector(".live");
      if (answer.ok && fresh) {
        content.querySelector(".live")?.replaceWith(fresh);
        document.title = next.title;
      }
    } catch {
      return; // the server was stopped; the page keeps what it has
    }
    if (content.querySelector("[data-live]")) setTimeout(look, EVERY);
  };
  if (content.querySelector("[data-live]")) setTimeout(look, EVERY);
})();
