import type { Death, DeathReason, Message } from './message.ts';
import type { Headers, Value } from './properties.ts';

/**
 * How a message died, and how that is shown. Deaths are the broker's own knowledge: a list beside the message, the
 * latest first, with one row for each queue and reason and how often it happened.
 */

/** The deaths of a message that just died once more. */
export function addDeath(
  message: Message,
  queue: string,
  reason: DeathReason,
  timeMs: number,
  rerouted: boolean,
): readonly Death[] {
  const before = message.deaths.find((death) => death.queue === queue && death.reason === reason);
  const death: Death =
    before === undefined ? newDeath(message, queue, reason, timeMs) : { ...before, count: before.count + 1 };
  const marked = rerouted ? { ...death, rerouted } : death;
  return [marked, ...message.deaths.filter((other) => other !== before)];
}

function newDeath(message: Message, queue: string, reason: DeathReason, timeMs: number): Death {
  const { ttlMs } = message.properties; // gone once it has died
  return {
    queue,
    reason,
    count: 1,
    exchange: message.exchange,
    routingKeys: message.routingKeys,
    timeMs,
    ...(message.deaths.length === 0 ? { first: true } : {}),
    ...(ttlMs === undefined ? {} : { originalTtlMs: ttlMs }),
  };
}

/**
 * True if the message came back to `queue` without anybody having rejected it on the way: it would go round for ever
 * [RabbitMQ: dead lettering, automatically dead-lettered message cycles].
 */
export function isCycle(deaths: readonly Death[], queue: string): boolean {
  const at = deaths.findIndex((death) => death.queue === queue);
  return at >= 0 && deaths.slice(0, at + 1).every((death) => death.reason !== 'rejected');
}

/** The headers that deaths are shown in, in this order and with these types. */
export function deathHeaders(deaths: readonly Death[]): [name: string, value: Value][] {
  const last = deaths[0];
  if (last === undefined) return [];
  const first = deaths.find((death) => death.first) ?? last;
  return [
    ['x-death', deaths.map(row)],
    ['x-first-death-exchange', first.exchange],
    ['x-first-death-queue', first.queue],
    ['x-first-death-reason', first.reason],
    ['x-last-death-exchange', last.exchange],
    ['x-last-death-queue', last.queue],
    ['x-last-death-reason', last.reason],
  ];
}

function row(death: Death): Headers {
  const seconds = BigInt(Math.floor(death.timeMs / 1000));
  const table = new Map<string, Value>([
    ['count', { type: 'long', value: BigInt(death.count) }],
    ['reason', death.reason],
    ['queue', death.queue],
    ['time', { type: 'timestamp', value: seconds * 1000n }],
    ['exchange', death.exchange],
    ['routing-keys', [...death.routingKeys]],
  ]);
  if (death.originalTtlMs !== undefined) table.set('original-expiration', String(death.originalTtlMs));
  return table;
}

/** Names that only the broker writes once a message has died. */
export function isDeathHeader(name: string): boolean {
  return deathNames.has(name);
}

const deathNames: ReadonlySet<string> = new Set([
  'x-death',
  'x-first-death-exchange',
  'x-first-death-queue',
  'x-first-death-reason',
  'x-last-death-exchange',
  'x-last-death-queue',
  'x-last-death-reason',
]);
