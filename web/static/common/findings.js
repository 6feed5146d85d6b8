// What the events of one session add up to. Pure: events in, state out.

export class Findings {
  started = null; // the session.started event
  ended = null; // the session.ended event
  speaking = false;
  caption = { text: "", final: true };
  provisional = null; // scores of the utterance being spoken, if it is a long one
  utterances = new Map(); // number -> utterance.result or utterance.failed
  all = []; // the same, in order
  results = []; // those which are an utterance.result
  average = null; // the newest average.updated
  names = new Map(); // id of each speaker -> what they are called now
  sounds = []; // each sound.event
  notes = []; // the note.changed of each note that is not deleted, in the order of what they are about
  warnings = [];

  #given = new Map(); // number of an utterance -> the speaker to whom somebody gave it
  #gone = new Map(); // id of a speaker who is no more -> the one they are

  add(event) {
    switch (event.type) {
      case "session.started":
        this.started = event;
        break;
      case "speech.started":
      case "speech.resumed":
        this.speaking = true;
        break;
      case "speech.paused":
        this.speaking = false;
        break;
      case "transcript.partial":
        this.caption = { text: event.text, final: false };
        break;
      case "utterance.provisional":
        this.provisional = event;
        break;
      case "utterance.result":
        this.caption = { text: event.transcript.text, final: true, of: event };
        if (event.speaker) this.names.set(event.speaker.id, event.speaker.name);
        this.#close(event);
        break;
      case "utterance.failed":
        this.caption = { text: "", final: true };
        this.#close(event);
        break;
      case "average.updated":
        this.average = event;
        break;
      case "speaker.changed":
        this.#change(event);
        break;
      case "note.changed":
        this.notes = this.notes.filter(({ note }) => note !== event.note);
        if (event.text) this.notes = [...this.notes, event].sort((a, b) => a.at - b.at);
        break;
      case "sound.event":
        this.sounds.push(event);
        break;
      case "warning":
        this.warnings.push(event);
        break;
      case "session.ended":
        this.ended = event;
        this.speaking = false;
        this.provisional = null;
        break;
    }
  }

  /** The utterance.result or utterance.failed with the highest number. */
  get latest() {
    return this.all.at(-1);
  }

  /** Each speaker's part of the newest average, in the order of their numbers. */
  get people() {
    return (this.average?.speakers ?? [])
      .filter(({ id }) => !this.#gone.has(id))
      .map((person) => ({ ...person, name: this.names.get(person.id) ?? person.name }));
  }

  /** Who speaks in an utterance.result: id, name, by, confidence; null if nobody can tell. */
  speakerOf({ utterance, speaker }) {
    const id = this.#now(this.#given.get(utterance) ?? speaker?.id);
    return id === undefined ? null : { ...speaker, id, name: this.nameOf(id) };
  }

  /** What to call a speaker; "" while there is but one, and nobody gave them a name. */
  nameOf(speaker) {
    const id = this.#now(speaker);
    const name = this.names.get(id) ?? "";
    return this.names.size > 1 || name !== `Speaker ${id}` ? name : "";
  }

  #now(id) {
    while (this.#gone.has(id)) id = this.#gone.get(id);
    return id;
  }

  #change({ speaker, name, gone, utterances }) {
    this.names.set(speaker, name);
    utterances.forEach((number) => this.#given.set(number, speaker));
    if (gone == null) return;
    this.#gone.set(gone, speaker);
    this.names.delete(gone);
  }

  #close(event) {
    this.utterances.set(event.utterance, event);
    this.all.push(event);
    if (event.type === "utterance.result") this.results.push(event);
    if (this.provisional?.utterance <= event.utterance) this.provisional = null;
  }
}
