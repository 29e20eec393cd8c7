import { anyWord, anyWords, type Pattern } from '../../core/topic.ts';
import { encodeText } from '../../lib/bytes.ts';

/**
 * Topics and routing keys: `/` and `.` trade places, so that nothing is lost either way. What MQTT forbids in a topic
 * name is percent-encoded there (`%2B`, `%23`, `%00`, octets that are not UTF-8), and text that looks like such a code
 * already gets one more `25`: decoding is exact.
 */
const coded = /%((?:25)*)(2B|23|00|[89A-F][0-9A-F])/g;
// by code point: the halves of a pair are a character's, and stay
const forbidden = /[+#\0\udc80-\udcff]/gu;

export function toRoutingKey(topic: string): string {
  return decodePercent(swap(topic));
}

export function toTopic(routingKey: string): string {
  return swap(encodePercent(routingKey));
}

/** The tokens of a topic filter, which `isFilter` holds for. */
export function toPattern(filter: string): Pattern {
  return filter.split('/').map((level) => {
    if (level === '+') return anyWord;
    return level === '#' ? anyWords : toRoutingKey(level);
  });
}

/** `#` alone and last, `+` alone in its level [MQTT-4.7.1-1] [MQTT-4.7.1-2]; not empty, no NUL [MQTT-4.7.3-1] [MQTT-4.7.3-2]. */
export function isFilter(filter: string): boolean {
  if (filter === '' || filter.includes('\0')) return false;
  const levels = filter.split('/');
  return levels.every((level, i) => {
    if (level === '#') return i === levels.length - 1;
    return level === '+' || !/[+#]/.test(level);
  });
}

/** A name to publish to: no wildcards, not empty, no NUL. */
export function isTopicName(topic: string): boolean {
  return topic !== '' && !/[+#\0]/.test(topic);
}

/** Topics that a client may publish to: the broker's own are not for it. */
export function isPublishable(topic: string): boolean {
  return isTopicName(topic) && !/^\$(SYS|share|delayed)(\/|$)/.test(topic);
}

const queuePrefix = '$queue-of/';

/** The queue that a topic or filter names instead of a topic; null when it does not. */
export function findQueueName(topic: string): string | null {
  return topic.startsWith(queuePrefix) ? decodePercent(topic.slice(queuePrefix.length)) : null;
}

export function toQueueTopic(queue: string): string {
  return queuePrefix + encodePercent(queue);
}

/** Where a message published to the topic goes: the exchange of topics, or the default one to a queue by its name. */
export function addressOf(topic: string, topics: string): readonly [exchange: string, routingKey: string] {
  const queue = findQueueName(topic);
  return queue === null ? [topics, toRoutingKey(topic)] : ['', queue];
}

function swap(text: string): string {
  if (!text.includes('/') && !text.includes('.')) return text;
  let swapped = '';
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code !== 0x2f && code !== 0x2e) continue;
    swapped += text.slice(from, i) + (code === 0x2f ? '.' : '/');
    from = i + 1;
  }
  return swapped + text.slice(from);
}

function decodePercent(text: string): string {
  if (!text.includes('%')) return text;
  return text.replace(coded, (_, more: string, hex: string) => {
    if (more !== '') return `%${more.slice(2)}${hex}`;
    const octet = Number.parseInt(hex, 16);
    return String.fromCharCode(octet < 0x80 ? octet : 0xdc00 + octet);
  });
}

function encodePercent(text: string): string {
  const lengthened = text.includes('%')
    ? text.replace(coded, (_, more: string, hex: string) => `%25${more}${hex}`)
    : text;
  return lengthened.replace(forbidden, (character) => {
    const octet = character.charCodeAt(0) & 0xff;
    return `%${octet.toString(16).toUpperCase().padStart(2, '0')}`;
  });
}

const topicMemoMax = 65_536;
const topicMemo = new Map<string, Buffer>();

const queueTopicMemo = new Map<string, Buffer>();

/**
 * The octets of the topic that a message has in MQTT: computed once a key, for every subscriber asks. What was sent to
 * a queue by its name has the queue's.
 */
export function topicBytes(exchange: string, routingKey: string): Buffer {
  const memo = exchange === '' ? queueTopicMemo : topicMemo;
  let bytes = memo.get(routingKey);
  if (bytes === undefined) {
    if (memo.size >= topicMemoMax) memo.clear();
    bytes = encodeText(exchange === '' ? toQueueTopic(routingKey) : toTopic(routingKey));
    memo.set(routingKey, bytes);
  }
  return bytes;
}
