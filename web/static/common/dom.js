// Making elements. Text from outside only ever becomes text, never markup.

/** A new element: its properties (`class`, `data-…`, `aria-…` as attributes) and its children. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** A copy of what the template with this id holds, which is one element. */
export function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}
