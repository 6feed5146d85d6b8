// The emotions and modalities in the order of every list, and what counts as expressed. Pure.

export const EMOTIONS = ["happiness", "sadness", "anger", "fear", "disgust", "surprise"];

/** What stands apart from the six: none of them is expressed. It has no threshold. */
export const NEUTRAL = "neutral";

/** What a person calls each modality of the model. */
export const MODALITIES = { visual: "face", acoustic: "voice", textual: "words" };

/** The emotions whose probability is strictly above their threshold, in order. */
export function expressed({ emotions, thresholds }) {
  return EMOTIONS.filter((emotion) => emotions[emotion] > thresholds[emotion]);
}

/** What `expressed` found, as words: the same that the colours of the bars say. */
export function expressedInWords(scores) {
  const found = expressed(scores).map((emotion) => `${emotion} ${scores.emotions[emotion].toFixed(2)}`);
  return `expressed: ${found.join(", ") || "none"}`;
}

/** What is expressed beyond the person's usual rest (the diamonds); nothing where nobody asked. */
export function lessRestInWords({ adjusted, thresholds }) {
  if (!adjusted) return "";
  if (!adjusted.resting) return "nothing is known yet of this person at rest";
  const count = adjusted.resting === 1 ? "1 utterance" : `${adjusted.resting} utterances`;
  const found = expressedInWords({ emotions: adjusted.emotions, thresholds });
  return `◇ less what is usual for this person at rest (${count}), ${found}`;
}
