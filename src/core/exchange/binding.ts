import type { Headers } from '../properties.ts';
import type { Queue } from '../queue/queue.ts';
import type { Pattern } from '../topic.ts';
import type { Exchange } from './exchange.ts';

/** What an MQTT subscription says beside its filter; other protocols' bindings have none. */
export interface SubscriptionOptions {
  /** One for all bindings of a session, so that it gets one entry a message however many of its filters match. */
  readonly subscriber: object;
  readonly qos: number;
  /** 0 = none. */
  readonly subscriptionId: number;
  readonly retainAsPublished: boolean;
  readonly noLocal: boolean;
  /** QoS 0 messages wait in the queue like others; otherwise they are for whoever has room now, or dropped. */
  readonly keepsQos0: boolean;
}

export interface Binding {
  readonly source: Exchange;
  readonly destination: Queue | Exchange;
  /** As listed; for topic exchanges `pattern` is what matches. */
  readonly key: string;
  readonly pattern: Pattern;
  readonly arguments: Headers;
  readonly subscription: SubscriptionOptions | null;
}

/** The merge of the options of all bindings that matched for one subscriber. */
export interface Match {
  readonly qos: number;
  readonly subscriptionIds: readonly number[];
  readonly retainAsPublished: boolean;
  readonly keepsQos0: boolean;
}

/** A queue that a message goes to. */
export interface Target {
  readonly queue: Queue;
  readonly match: Match | null;
  /** With no-local among the bindings: whose own messages are judged by `localMatch`, null = not delivered to itself. */
  readonly noLocalFor: object | null;
  readonly localMatch: Match | null;
}
