// Many utterances as the columns of a chart that is only so wide; and its axis of time. Pure.

import { EMOTIONS, NEUTRAL } from "../common/emotions.js";

/** The rows of the chart, from the top. */
export const LABELS = [...EMOTIONS, NEUTRAL];

const NICE_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
const GROWTH = 1.5;

/**
 * The utterances between `from` and `to`, as columns that are at least `width` seconds wide.
 *
 * `utterances` are utterance.results in the order of time. Those which would share a column are one:
 * { start, end, count, shown }, where `shown` has, for each label, the utterance that is drawn: the
 * highest, and one that is expressed before all that are not.
 */
export function columnsOf(utterances, { from, to, width, thresholdsOf }) {
  const columns = [];
  for (let index = firstEndingAfter(utterances, from); index < utterances.length; index++) {
    const utterance = utterances[index];
    if (utterance.start > to) break;
    const last = columns.at(-1);
    if (last && utterance.start < last.start + width) {
      join(last, utterance, thresholdsOf);
    } else {
      const shown = Object.fromEntries(LABELS.map((label) => [label, utterance]));
      columns.push({ start: utterance.start, end: utterance.end, count: 1, shown });
    }
  }
  for (const column of columns) column.end = Math.max(column.end, column.start + width);
  return columns;
}

/** The score of a label; undefined or null for what an earlier version did not tell. */
export function scoreOf(utterance, label) {
  return label === NEUTRAL ? utterance.neutral : utterance.emotions[label];
}

/** The last of `utterances` that begins at `time` or before it; undefined before the first. */
export function begunBy(utterances, time) {
  return utterances[firstIndex(utterances, ({ start }) => start > time) - 1];
}

/** How far a chart reaches that is filled up to `time` seconds: it grows in steps, not all the time. */
export function extent(time) {
  let end = 60;
  while (end < time) end *= GROWTH;
  return end;
}

/** Round times between `from` and `to`, `most` of them or fewer. */
export function ticks(from, to, most) {
  const step = NICE_S.find((each) => (to - from) / each <= most) ?? NICE_S.at(-1) * 2;
  const found = [];
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) found.push(time);
  return found;
}

function join(column, utterance, thresholdsOf) {
  column.end = Math.max(column.end, utterance.end);
  column.count += 1;
  const thresholds = thresholdsOf(utterance);
  for (const label of LABELS) {
    const other = column.shown[label];
    const [here, there] = [scoreOf(utterance, label), scoreOf(other, label)];
    const gain = Number(here > thresholds[label]) - Number(there > thresholdsOf(other)[label]);
    if (gain > 0 || (gain === 0 && here > there)) column.shown[label] = utterance;
  }
}

function firstEndingAfter(utterances, time) {
  return firstIndex(utterances, ({ end }) => end > time);
}

/** Index of the first of which `holds` is true, as it is of all that follow. */
function firstIndex(items, holds) {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(items[middle])) high = middle;
    else low = middle + 1;
  }
  return low;
}
