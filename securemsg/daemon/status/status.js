"use strict";
// Exchange the content of the page for a newer one; what cannot be fetched is said, and tried again.
async function refresh() {
  try {
    const answer = await fetch(location.pathname, {cache: "no-store"});
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
    document.title = page.title;
  } catch {
    document.title = "securemsg: no answer";
    const state = document.querySelector("main > p");
    state.className = "bad";
    state.textContent = "No answer: what is shown below is old.";
  }
}
setInterval(refresh, 10000);
