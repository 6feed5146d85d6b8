// The speakers of a session in the card of the average: whose bars are shown, and who is who.

import { make } from "../common/dom.js";
import { onSubmit } from "../common/forms.js";

const EVERYBODY = "";
let groups = 0; // a call has many such rows of radio buttons

/** Tells "choose" when the average of somebody else is wanted. */
export class Speakers extends EventTarget {
  chosen = null; // id of the speaker whose average is shown; null for everybody

  #root;
  #find;
  #people = [];
  #group = `speaker-${++groups}`;
  #drawn = ""; // the numbers and names on the page

  /** `change` gets a speaker and { name } or { merge_into }, and throws what the server refuses. */
  constructor(card, change) {
    super();
    this.#root = card.querySelector(".speakers");
    this.#find = (name) => this.#root.querySelector(name);
    this.#find(".choice").addEventListener("change", ({ target }) => this.#choose(target.value));
    const rename = this.#find(".rename");
    const merge = this.#find(".merge");
    onSubmit(rename, async () => {
      const name = rename.elements.name.value.trim();
      if (!name) throw new Error("Say a name first.");
      await change(this.chosen, { name });
    });
    onSubmit(merge, async () => {
      const into = Number(merge.elements.into.value);
      const both = `${this.#nameOf(this.chosen)} and ${this.#nameOf(into)}`;
      if (!confirm(`Take ${both} for one person? They cannot be parted again.`)) return;
      await change(this.chosen, { merge_into: into });
      this.#choose(into);
    });
  }

  /** Show who has spoken (see Findings.people) and how much; nothing where there is only one. */
  draw(people) {
    this.#people = people;
    this.#root.hidden = people.length < 2;
    if (this.#root.hidden || !people.some(({ id }) => id === this.chosen)) this.chosen = null;
    const drawn = JSON.stringify(people.map(({ id, name }) => [id, name]));
    if (drawn !== this.#drawn) this.#drawChoice(); // else leave the keyboard's place alone
    this.#drawn = drawn;
    const all = people.reduce((sum, { spoken }) => sum + spoken, 0);
    this.#find(".talks").replaceChildren(...people.map(({ name, spoken }) =>
      make("li", {}, make("b", {}, name), ` talks ${all ? Math.round((100 * spoken) / all) : 0} % of the time`),
    ));
  }

  #drawChoice() {
    const choice = this.#find(".choice");
    const focused = choice.contains(document.activeElement);
    const labels = [{ id: EVERYBODY, name: "Everybody" }, ...this.#people].map(({ id, name }) => {
      const radio = make("input", { type: "radio", name: this.#group, value: id });
      radio.checked = id === (this.chosen ?? EVERYBODY);
      return make("label", {}, radio, make("span", {}, name));
    });
    choice.replaceChildren(choice.querySelector("legend"), ...labels);
    if (focused) choice.querySelector(":checked").focus();
    this.#drawFields();
  }

  #drawFields() {
    this.#find(".who-is-who").hidden = this.chosen === null;
    if (this.chosen === null) return;
    const { name } = this.#find(".rename").elements;
    if (name !== document.activeElement) name.value = this.#nameOf(this.chosen); // else it is being written
    const { into } = this.#find(".merge").elements;
    const before = into.value;
    const others = this.#people.filter(({ id }) => id !== this.chosen);
    into.replaceChildren(...others.map(({ id, name }) => new Option(name, id, false, String(id) === before)));
    this.#root.querySelectorAll(".message").forEach((message) => (message.textContent = ""));
  }

  #choose(value) {
    this.chosen = value === EVERYBODY ? null : Number(value);
    this.#find(`input[value="${value}"]`).checked = true;
    this.#drawFields();
    this.dispatchEvent(new Event("choose"));
  }

  #nameOf(speaker) {
    return this.#people.find(({ id }) => id === speaker)?.name ?? `Speaker ${speaker}`;
  }
}
