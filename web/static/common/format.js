// Times and words for people.

/** Seconds of media time as a clock: 75.32 is "1:15.3", or "1:15" without tenths. */
export function clock(seconds, { tenths = true } = {}) {
  const whole = tenths ? Math.round(seconds * 10) / 10 : Math.floor(seconds);
  const rest = (whole % 60).toFixed(tenths ? 1 : 0).padStart(tenths ? 4 : 2, "0");
  return `${Math.floor(whole / 60)}:${rest}`;
}

/** A probability with two decimals; a dash where an earlier version did not tell it. */
export function probability(value) {
  return value == null ? "–" : value.toFixed(2);
}

/** The words of a transcript; in brackets, why there are none. */
export function wordsOf({ text, confidence }) {
  return text || (confidence == null ? "(no words)" : "(not understood)");
}

/** The time of day at which something began, with the date unless it is today. */
export function since(iso) {
  const then = new Date(iso);
  const today = then.toDateString() === new Date().toDateString();
  return then.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "short", timeStyle: "short" });
}
