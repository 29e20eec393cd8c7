import { anyWord, anyWords, type Pattern, parsePattern, type TopicMapping } from '../../core/topic.ts';
import { encodeText } from '../../lib/bytes.ts';

/**
 * Topics and routing keys: `/` and `.` trade places, so that nothing is lost either way. What MQTT forbids in a topic
 * name is percent-encoded there (`%2B`, `%23`, `%00`, octets that are not UTF-8), and text that looks like such a code
 * already gets one more `25`: decoding is exact.
 */
const coded = /%((?:25)*)(2B|23|00|[89A-F][0-9A-F])/g;
// by code point: the halves of a pair are a character's, and stay
const forbidden = /[+#\0\udc80-\udcff]/gu;

function swapToKey(topic: string): string {
  return decodePercent(swap(topic));
}

function swapToTopic(routingKey: string): string {
  return swap(encodePercent(routingKey));
}

function swapToPattern(filter: string): Pattern {
  return filter.split('/').map((level) => {
    if (level === '+') return anyWord;
    return level === '#' ? anyWords : swapToKey(level);
  });
}

// — RabbitMQ's: a dot in a topic is a separator too, and a slash in a routing key ———————————————————————————————————

function dotsToKey(topic: string): string {
  return topic.replaceAll('/', '.');
}

function dotsToTopic(routingKey: string): string {
  return encodeForbidden(routingKey.replaceAll('.', '/'));
}

function dotsToPattern(filter: string): Pattern {
  return parsePattern(dotsToKey(filter.replace(/(^|\/)\+(?=\/|$)/g, '$1*')));
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

const delayedPrefix = '$delayed/';
/** More seconds than this are no delay but a time: so many since the epoch. */
const delayMaxSeconds = 999_999_999;

/** A topic that a message is to be published to later. */
export interface DelayedTopic {
  readonly topic: string;
  /** Milliseconds since the epoch. */
  readonly dueMs: number;
}

/**
 * `$delayed/<seconds>/<topic>` [EMQX: delayed publish]; undefined for any other topic, null for one that is meant to be
 * such and names no time or no topic.
 */
export function findDelayedTopic(topic: string, nowMs: number): DelayedTopic | null | undefined {
  if (!topic.startsWith(delayedPrefix)) return undefined;
  const end = topic.indexOf('/', delayedPrefix.length);
  const time = topic.slice(delayedPrefix.length, end < 0 ? undefined : end);
  if (end < 0 || end + 1 === topic.length || !/^\d{1,12}$/.test(time)) return null;
  const seconds = Number(time);
  const dueMs = seconds <= delayMaxSeconds ? nowMs + seconds * 1000 : seconds * 1000;
  return { topic: topic.slice(end + 1), dueMs };
}

const queuePrefix = '$queue-of/';

/** The queue that a topic or filter names instead of a topic; null when it does not. */
export function findQueueName(topic: string): string | null {
  return topic.startsWith(queuePrefix) ? decodePercent(topic.slice(queuePrefix.length)) : null;
}

function toQueueTopic(queue: string): string {
  return queuePrefix + encodePercent(queue);
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
  return encodeForbidden(lengthened);
}

function encodeForbidden(text: string): string {
  return text.replace(forbidden, (character) => {
    const octet = character.charCodeAt(0) & 0xff;
    return `%${octet.toString(16).toUpperCase().padStart(2, '0')}`;
  });
}

const topicMemoMax = 65_536;

/** Topics and routing keys in each other's words, as one mapping has them. */
export class Spelling {
  readonly toRoutingKey: (topic: string) => string;
  readonly toTopic: (routingKey: string) => string;
  /** The tokens of a topic filter, which `isFilter` holds for. */
  readonly toPattern: (filter: string) => Pattern;
  private readonly topics = new Map<string, Buffer>();
  private readonly queueTopics = new Map<string, Buffer>();

  constructor(toRoutingKey: Spelling['toRoutingKey'], toTopic: Spelling['toTopic'], toPattern: Spelling['toPattern']) {
    this.toRoutingKey = toRoutingKey;
    this.toTopic = toTopic;
    this.toPattern = toPattern;
  }

  /** Where a message published to the topic goes: the exchange of topics, or the default one to a queue by its name. */
  addressOf(topic: string, topics: string): readonly [exchange: string, routingKey: string] {
    const queue = findQueueName(topic);
    return queue === null ? [topics, this.toRoutingKey(topic)] : ['', queue];
  }

  /**
   * The octets of the topic that a message has in MQTT: computed once a key, for every subscriber asks. What was sent
   * to a queue by its name has the queue's.
   */
  topicBytes(exchange: string, routingKey: string): Buffer {
    const memo = exchange === '' ? this.queueTopics : this.topics;
    let bytes = memo.get(routingKey);
    if (bytes === undefined) {
      if (memo.size >= topicMemoMax) memo.clear();
      bytes = encodeText(exchange === '' ? toQueueTopic(routingKey) : this.toTopic(routingKey));
      memo.set(routingKey, bytes);
    }
    return bytes;
  }
}

export const exactSpelling = new Spelling(swapToKey, swapToTopic, swapToPattern);
const rabbitmqSpelling = new Spelling(dotsToKey, dotsToTopic, dotsToPattern);

export function spellingOf(mapping: TopicMapping): Spelling {
  return mapping === 'exact' ? exactSpelling : rabbitmqSpelling;
}
