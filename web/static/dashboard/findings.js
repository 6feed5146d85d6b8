// What the events of one session add up to. Pure: events in, state out.

export class Findings {
  started = null; // the session.started event
  ended = null; // the session.ended event
  speaking = false;
  caption = { text: "", final: true };
  provisional = null; // scores of the utterance being spoken, if it is a long one
  utterances = new Map(); // number -> utterance.result or utterance.failed
  average = null; // the newest average.updated
  warnings = [];

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
        this.caption = { text: event.transcript.text, final: true };
        this.#close(event);
        break;
      case "utterance.failed":
        this.caption = { text: "", final: true };
        this.#close(event);
        break;
      case "average.updated":
        this.average = event;
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
    return [...this.utterances.values()].at(-1);
  }

  #close(event) {
    this.utterances.set(event.utterance, event);
    if (this.provisional?.utterance <= event.utterance) this.provisional = null;
  }
}
