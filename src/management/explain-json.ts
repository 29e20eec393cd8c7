import type { Binding } from '../core/exchange/binding.ts';
import { Exchange } from '../core/exchange/exchange.ts';
import type { RouteStep } from '../core/exchange/route.ts';
import { type Description, type Explanation, type Received, type Shown, typeOf } from '../core/explain.ts';
import type { Message } from '../core/message.ts';
import type { Properties } from '../core/properties.ts';
import type { Timing } from '../core/timing.ts';
import { spell } from '../core/typed-text.ts';
import type { Vhost } from '../core/vhost.ts';
import { headersFromJson, headersToJson } from './arguments.ts';
import { badRequest } from './errors.ts';
import { readPayload, showPayload } from './message-json.ts';

/** A message as it is described to be explained. */
export interface DescriptionJson {
  readonly protocol: string;
  /** One of MQTT, whose rules for devices hold. */
  readonly listener?: string;
  readonly vhost?: string;
  readonly destination: string;
  readonly exchange?: string;
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly headers?: object;
  readonly body?: string;
  readonly body_encoding?: string;
  readonly qos?: number;
  readonly retain?: boolean;
}

const texts = {
  content_type: 'contentType',
  content_encoding: 'contentEncoding',
  correlation_id: 'correlationId',
  message_id: 'messageId',
  user_id: 'userId',
  app_id: 'appId',
  type: 'type',
  subject: 'subject',
  to: 'to',
  group_id: 'groupId',
  reply_to_group_id: 'replyToGroupId',
} as const;
const numbers = {
  priority: ['priority', 255],
  ttl_ms: ['ttlMs', 0xffff_ffff],
  timestamp_ms: ['timestampMs', Number.MAX_SAFE_INTEGER],
  group_sequence: ['groupSequence', 0xffff_ffff],
} as const;
const flags = { durable: 'durable', text_payload: 'textPayload' } as const;

/** @throws HttpError 400 for a property that is not known, or cannot be */
export function readDescription(json: DescriptionJson): Description {
  const properties: Properties = { headers: headersFromJson(json.headers) };
  for (const [name, value] of Object.entries(json.properties ?? {})) setProperty(properties, name, value);
  return {
    destination: json.destination,
    exchange: json.exchange ?? '',
    properties,
    body: readPayload(json.body ?? '', json.body_encoding ?? 'string'),
    qos: json.qos ?? 0,
    retain: json.retain ?? false,
  };
}

function setProperty(properties: Properties, name: string, value: unknown): void {
  if (Object.hasOwn(texts, name)) properties[texts[name as keyof typeof texts]] = demandText(name, value);
  else if (name === 'reply_to') {
    const text = demandText(name, value);
    properties.replyTo = { exchange: '', key: text, text, protocol: '' };
  } else if (Object.hasOwn(numbers, name)) {
    const [field, most] = numbers[name as keyof typeof numbers];
    const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
    if (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number > most) {
      throw badRequest(`properties.${name} is a whole number from 0 to ${most}`);
    }
    properties[field] = number;
  } else if (Object.hasOwn(flags, name)) {
    if (value !== true && value !== false && value !== 'true' && value !== 'false') {
      throw badRequest(`properties.${name} is true or false`);
    }
    properties[flags[name as keyof typeof flags]] = String(value) === 'true';
  } else {
    const known = [texts, { reply_to: '' }, numbers, flags].flatMap((each) => Object.keys(each)).join(', ');
    throw badRequest(`properties.${name} is not known; there are ${known}`);
  }
}

function demandText(name: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw badRequest(`properties.${name} is text`);
}

export function showExplanation(explanation: Explanation, vhost: Vhost): object {
  const { message, routingKeys, steps, targets, declares, retained, timing, received } = explanation;
  const { payload, payload_encoding } = showPayload(message.body, 'auto', message.bodyBytes);
  return {
    vhost: vhost.name,
    exchange: message.exchange,
    routing_keys: routingKeys,
    declares,
    retained,
    held: timing === null ? null : showTiming(timing, vhost),
    result: targets.length > 0 || declares !== null ? 'routed' : 'unroutable',
    route: steps.map((step) => showStep(step, routingKeys, message, vhost)),
    queues: targets.map(({ queue, match }) => {
      const local = vhost.queues.get(queue.name);
      return {
        name: queue.name,
        type: queue.options.type,
        durable: queue.spec.durable,
        arguments: headersToJson(queue.spec.arguments),
        policy: local?.policy?.name ?? null,
        operator_policy: local?.operatorPolicy?.name ?? null,
        effective_policy_definition: local?.policyDefinition ?? {},
        subscription_qos: match?.qos ?? null,
      };
    }),
    body: payload,
    body_encoding: payload_encoding,
    consumers: received.map(showReceived),
  };
}

function showTiming({ dueMs, repeat }: Timing, { nowMs }: Vhost): object {
  return {
    delay: Math.max(dueMs - nowMs, 0),
    due: dueMs,
    due_at: new Date(dueMs).toISOString(),
    cron: repeat?.cron ?? null,
    period: repeat !== null && repeat.periodMs > 0 ? repeat.periodMs : null,
    repeat: repeat?.times ?? 0,
  };
}

function showStep({ exchange, bindings, matched }: RouteStep, keys: readonly string[], message: Message, vhost: Vhost) {
  const alternate = exchange.alternateExchange;
  const taken = !matched && alternate !== null && vhost.exchanges.has(alternate) ? alternate : null;
  const { name } = exchange;
  return {
    exchange: name,
    type: exchange.spec.type,
    matched,
    alternate_exchange: alternate,
    alternate_taken: taken !== null,
    dead_end: !matched && taken === null,
    bindings:
      name === ''
        ? keys.map((key) => showNamed(key, vhost))
        : [...exchange.bindings.values()].map((binding) => {
            const isMatch = bindings.has(binding);
            return {
              ...showBinding(binding),
              matched: isMatch,
              why: exchange.matcher.explain(binding, isMatch, keys, message),
            };
          }),
  };
}

// The default exchange has a binding to every queue, by its name.
function showNamed(key: string, vhost: Vhost): object {
  const matched = vhost.queues.has(key);
  const why = matched ? `a queue has the name '${key}'` : `no queue has the name '${key}'`;
  return { destination: key, destination_type: 'queue', routing_key: key, arguments: {}, matched, why };
}

function showBinding({ destination, key, arguments: args }: Binding): object {
  return {
    destination: destination.name,
    destination_type: destination instanceof Exchange ? 'exchange' : 'queue',
    routing_key: key,
    arguments: headersToJson(args),
  };
}

function showReceived({ script, shown, companions, lost }: Received): object {
  const those = (place: Shown['place']): object[] =>
    shown
      .filter((each) => each.place === place)
      .map(({ name, value }) => ({
        name,
        value: spell(value).text,
        type: typeOf(value),
        ...(place === 'header' ? { companion: companions.has(name) } : {}),
      }));
  return {
    protocol: script.name,
    title: script.title,
    delivery: those('delivery'),
    fields: those('field'),
    headers: those('header'),
    lost,
  };
}
