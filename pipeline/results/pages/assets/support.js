// @ts-check
/* Which sentences of a prompt support an answer. Each sentence of the answer is matched with the one
   of the prompt that has most of its content words, weighted by how rare they are there. If that
   covers half of the weight, the prompt's sentence supports the answer's. A rule of thumb for
   readers, not a verdict. */
const MIN_COVERAGE = 0.5;
const MIN_WORDS = 3; // a sentence with fewer content words says too little to be matched
const STOP_WORDS = new Set(
  ("a an and are as at be but by for if in into is it no not of on or such that the their then there " +
    "these they this to was will with").split(" "),
);
const SENTENCES = new Intl.Segmenter("en", { granularity: "sentence" });

/** @typedef {{start: number, end: number, words: Set<string>}} Sentence */
/** @typedef {{answer: Sentence, source: Sentence}} Support */

/** @param {string} text @returns {Sentence[]} */
function sentencesOf(text) {
  return [...SENTENCES.segment(text)].map(({ segment, index }) => {
    const end = index + segment.trimEnd().length;
    return { start: index + (segment.length - segment.trimStart().length), end, words: contentWords(segment) };
  });
}

/** @param {string} text */
function contentWords(text) {
  const words = text.toLowerCase().match(/\p{L}+(?:['’]\p{L}+)?/gu) ?? [];
  return new Set(words.filter((word) => !STOP_WORDS.has(word)).map(stem));
}

/** A word without the ending of its grammatical form.
 * @param {string} word */
function stem(word) {
  return word.length > 4 ? word.replace(/(?:ies|ied|ing|ed|es|s|ly)$/, "") : word;
}

/** @param {string} answer @param {string} source
 * @param {(sentence: string) => boolean} excluded sentences of the template, and the question
 * @returns {Support[]} */
function supportOf(answer, source, excluded) {
  const sentences = sentencesOf(source).filter((s) => !excluded(source.slice(s.start, s.end)));
  /** @type {Map<string, number[]>} */
  const containing = new Map();
  for (const [at, { words }] of sentences.entries()) {
    for (const word of words) containing.set(word, [...(containing.get(word) ?? []), at]);
  }
  const weight = (/** @type {string} */ word) => Math.log(1 + sentences.length / (containing.get(word)?.length ?? 1));
  /** @type {Support[]} */
  const found = [];
  for (const claim of sentencesOf(answer)) {
    if (claim.words.size < MIN_WORDS) continue;
    const scores = new Float64Array(sentences.length);
    let total = 0;
    for (const word of claim.words) {
      total += weight(word);
      for (const at of containing.get(word) ?? []) scores[at] += weight(word);
    }
    const best = scores.indexOf(Math.max(...scores));
    if (best >= 0 && scores[best] >= MIN_COVERAGE * total) found.push({ answer: claim, source: sentences[best] });
  }
  return found;
}
