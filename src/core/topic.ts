/**
 * Topic patterns as tokens. A wildcard is a token, never a character: an MQTT filter's literal `*` stays a literal,
 * and where a binding is listed such a word is written `%2A` or `%23`.
 */
export const anyWord = 1;
export const anyWords = 2;
export type Token = string | typeof anyWord | typeof anyWords;
export type Pattern = readonly Token[];

/**
 * How MQTT's topics and routing keys are spelled in each other's words, in one virtual host: `exact` loses nothing,
 * `rabbitmq` is RabbitMQ's own. Fixed when the virtual host is made.
 */
export type TopicMapping = 'exact' | 'rabbitmq';

/** Words of a routing key; the empty key has none. */
export function wordsOf(key: string): string[] {
  return key === '' ? [] : key.split('.');
}

/** The pattern of an AMQP binding key: `*` is one word, `#` any number of them. */
export function parsePattern(bindingKey: string): Pattern {
  return wordsOf(bindingKey).map((word) => (word === '*' ? anyWord : word === '#' ? anyWords : word));
}

/** How a pattern is listed; for AMQP patterns the inverse of `parsePattern`. */
export function showPattern(pattern: Pattern): string {
  return pattern.map(showToken).join('.');
}

function showToken(token: Token): string {
  if (token === anyWord) return '*';
  if (token === anyWords) return '#';
  return token === '*' ? '%2A' : token === '#' ? '%23' : token;
}

/** True if the pattern matches the words; for single questions, where no trie is at hand. */
export function matches(pattern: Pattern, words: readonly string[], p = 0, w = 0): boolean {
  for (; p < pattern.length; p++, w++) {
    const token = pattern[p];
    if (token === anyWords) {
      for (let next = w; next <= words.length; next++) if (matches(pattern, words, p + 1, next)) return true;
      return false;
    }
    if (w >= words.length || (token !== anyWord && token !== words[w])) return false;
  }
  return w === words.length;
}
