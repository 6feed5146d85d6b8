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
