import type { Match } from '../../core/exchange/binding.ts';
import { anyWord, anyWords, matches, type Pattern, wordsOf } from '../../core/topic.ts';
import { findQueueName, isFilter, type Spelling } from './topic.ts';

/** One topic filter of a session, and what the client said of it. */
export interface Subscription {
  /** As the client wrote it, `$share/…` included. */
  readonly filter: string;
  readonly qos: number;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: number;
  /** 0 = none. */
  readonly subscriptionId: number;
}

/** What a filter asks for: topics of its own, a share of a group's, or a queue. */
export type Wanted =
  | { readonly kind: 'topics'; readonly filter: string }
  | { readonly kind: 'shared'; readonly group: string; readonly filter: string }
  | { readonly kind: 'queue'; readonly queue: string };

const sharePrefix = '$share/';

/** @returns null for a filter that is none [MQTT-4.7.1-1] [MQTT-4.8.2-1] [MQTT-4.8.2-2] */
export function readFilter(text: string): Wanted | null {
  if (!isFilter(text)) return null;
  const queue = findQueueName(text);
  if (queue !== null) return queue === '' || /[+#]/.test(text) ? null : { kind: 'queue', queue };
  if (text === '$share') return null;
  if (!text.startsWith(sharePrefix)) return { kind: 'topics', filter: text };
  const at = text.indexOf('/', sharePrefix.length);
  const group = text.slice(sharePrefix.length, at < 0 ? text.length : at);
  if (at < 0 || group === '' || /[+#]/.test(group)) return null;
  const filter = text.slice(at + 1);
  return filter === '' ? null : { kind: 'shared', group, filter };
}

export function isSystemFilter(filter: string): boolean {
  return filter === '$SYS' || filter.startsWith('$SYS/');
}

/** What one subscription alone grants a message. */
export function matchOf(subscription: Subscription, keepsQos0: boolean): Match {
  return {
    qos: subscription.qos,
    subscriptionIds: subscription.subscriptionId === 0 ? [] : [subscription.subscriptionId],
    retainAsPublished: subscription.retainAsPublished,
    keepsQos0,
  };
}

/** A retained message goes to its new subscriber with RETAIN set [MQTT-3.3.1-8]. */
export function retainedMatchOf(subscription: Subscription): Match {
  return { ...matchOf(subscription, true), retainAsPublished: true };
}

/** The merge of all that match a routing key: what routing knew, found again after a restart. */
export function mergedMatch(subscriptions: Iterable<Subscription>, routingKey: string, spelling: Spelling): Match {
  const words = wordsOf(routingKey);
  const merged = { qos: -1, subscriptionIds: [] as number[], retainAsPublished: false, keepsQos0: false };
  for (const subscription of subscriptions) {
    const wanted = readFilter(subscription.filter);
    if (wanted?.kind !== 'topics') continue;
    const pattern = spelling.toPattern(wanted.filter);
    if (isHiddenFrom(pattern, routingKey) || !matches(pattern, words)) continue;
    merged.qos = Math.max(merged.qos, subscription.qos);
    if (subscription.subscriptionId !== 0) merged.subscriptionIds.push(subscription.subscriptionId);
    if (subscription.retainAsPublished) merged.retainAsPublished = true;
  }
  // Bound by somebody else, or unsubscribed since: it is in the session's queue and is delivered once.
  if (merged.qos < 0) merged.qos = 1;
  return merged;
}

function isHiddenFrom(pattern: Pattern, routingKey: string): boolean {
  return routingKey.charCodeAt(0) === 0x24 && (pattern[0] === anyWord || pattern[0] === anyWords);
}
