import { Message, noDeaths } from '../../core/message.ts';
import { anyWord, anyWords, matches, type Pattern } from '../../core/topic.ts';
import { blockOf, type Fields, type Unwrapped, unwrap, wrap } from './envelope.ts';
import { mqtt3Format } from './message.ts';
import type { Spelling } from './topic.ts';

/** What devices of MQTT 3.1 and 3.1.1 cannot say themselves, for the topics of a filter. */
export interface DeviceRule {
  readonly filter: string;
  /** json: payloads are `{"h":{…},"p":…}`, both ways. */
  readonly envelope: 'none' | 'json';
  readonly contentType?: string | undefined;
  readonly headers: Readonly<Record<string, string | number | boolean>>;
  readonly priority?: number | undefined;
  readonly ttlMs?: number | undefined;
}

interface Prepared {
  readonly pattern: Pattern;
  readonly isWrapped: boolean;
  readonly defaults: Fields;
  /** Of messages that say nothing themselves. */
  readonly native: Buffer;
}

const topicMemoMax = 65_536;

/**
 * The rules of one listener in one virtual host: of those whose filter matches a topic the first holds. A message that
 * a rule adds to is one as a client of MQTT 5 would have published it.
 */
export class DeviceRules {
  private readonly rules: readonly Prepared[];
  private readonly spelling: Spelling;
  /** By the topic's octets, which are one buffer a topic. */
  private readonly byTopic = new Map<Buffer, Prepared | null>();
  private lastMessage: Message | null = null;
  private lastWrapped: Message | null = null;

  /** @throws RangeError for defaults that no message can have */
  constructor(rules: readonly DeviceRule[], spelling: Spelling) {
    this.rules = rules.map(prepare);
    this.spelling = spelling;
  }

  /**
   * What a client published; null: as it came.
   * @param aliasTopic the topic of a reply, which stands for an address that the client does not know; else null
   */
  incoming(exchange: string, routingKey: string, payload: Buffer, aliasTopic: string | null): Unwrapped | null {
    const rule = aliasTopic === null ? this.find(exchange, routingKey) : this.match(aliasTopic);
    if (rule === null) return null;
    const unwrapped = rule.isWrapped ? unwrap(payload, rule.defaults) : null;
    if (unwrapped !== null) return unwrapped;
    return rule.native.length === 0 ? null : { native: rule.native, body: payload };
  }

  /** What a subscriber gets: the message, or one whose body is an envelope. */
  outgoing(message: Message, nowMs: number): Message {
    if (this.find(message.exchange, message.routingKey)?.isWrapped !== true) return message;
    if (this.lastMessage === message && this.lastWrapped !== null && message.expiresAtMs === 0) return this.lastWrapped;
    const bytes = wrap(message, nowMs);
    const wrapped = new Message({
      format: mqtt3Format,
      exchange: message.exchange,
      routingKey: message.routingKey,
      durable: message.durable,
      priority: message.priority,
      expiresAtMs: 0,
      qos: message.qos,
      retain: message.retain,
      publisher: message.publisher,
      deaths: noDeaths,
      bytes,
      start: 0,
      end: bytes.length,
      nativeStart: 0,
      nativeEnd: 0,
      bodyStart: 0,
      bodyEnd: bytes.length,
    });
    this.lastMessage = message;
    this.lastWrapped = wrapped;
    return wrapped;
  }

  private find(exchange: string, routingKey: string): Prepared | null {
    const topic = this.spelling.topicBytes(exchange, routingKey);
    let rule = this.byTopic.get(topic);
    if (rule === undefined) {
      if (this.byTopic.size >= topicMemoMax) this.byTopic.clear();
      rule = this.match(topic.toString('utf8'));
      this.byTopic.set(topic, rule);
    }
    return rule;
  }

  private match(topic: string): Prepared | null {
    const levels = topic.split('/');
    return this.rules.find(({ pattern }) => isMatch(pattern, levels)) ?? null;
  }
}

function prepare({ filter, envelope, contentType, headers, priority, ttlMs }: DeviceRule): Prepared {
  const defaults: Fields = {
    ...(contentType === undefined ? {} : { 'content-type': contentType }),
    ...(priority === undefined ? {} : { priority }),
    ...(ttlMs === undefined ? {} : { expiration: ttlMs }),
    ...headers,
  };
  const native = blockOf(defaults);
  if (native === null) throw new RangeError(`the defaults for '${filter}' are more than a message can say`);
  const pattern = filter.split('/').map((level) => (level === '+' ? anyWord : level === '#' ? anyWords : level));
  return { pattern, isWrapped: envelope === 'json', defaults, native };
}

// As for subscribers, a leading wildcard does not see `$`.
function isMatch(pattern: Pattern, levels: readonly string[]): boolean {
  return (typeof pattern[0] === 'string' || !levels[0]?.startsWith('$')) && matches(pattern, levels);
}
