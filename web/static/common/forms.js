// What one fills in and presses: one press at a time, and what goes wrong is said beside the button.

/** On submit do `work`; its error becomes the text of the form's `.message`. */
export function onSubmit(form, work) {
  const button = form.querySelector("button[type=submit]");
  const message = form.querySelector(".message");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true"; // keeps the focus, unlike `disabled`
    message.textContent = "";
    try {
      await work();
    } catch (error) {
      message.textContent = error.message;
    } finally {
      button.ariaDisabled = null;
    }
  });
}

/** Let `button` copy what stands in `field`. */
export function copyOnClick(button, field) {
  button.addEventListener("click", async () => {
    field.select();
    await navigator.clipboard?.writeText(field.value);
    button.textContent = "Copied";
  });
}

/** Tell the person something that is no part of a form; "" takes it away. */
export function notice(words) {
  document.getElementById("notice").textContent = words;
}
