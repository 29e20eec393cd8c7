import type { Broker } from '../../core/broker.ts';
import { Message, noDeaths } from '../../core/message.ts';
import type { Vhost } from '../../core/vhost.ts';
import { mqtt3Format } from './message.ts';
import type { Sessions, SystemOptions } from './protocol.ts';
import { exactSpelling } from './topic.ts';

const minuteMs = 60_000;

/** A load average over some minutes, as Mosquitto computes it: events a minute, older ones weighing less and less. */
class Load {
  private readonly values = [0, 0, 0];
  private total = 0;

  note(total: number, elapsedMs: number): void {
    const aMinute = ((total - this.total) * minuteMs) / elapsedMs;
    this.total = total;
    for (const [i, minutes] of loadMinutes.entries()) {
      const weight = Math.exp(-elapsedMs / (minutes * minuteMs));
      this.values[i] = aMinute + weight * (this.values[i]! - aMinute);
    }
  }

  *topics(name: string): IterableIterator<[topic: string, value: string]> {
    for (const [i, minutes] of loadMinutes.entries()) yield [`load/${name}/${minutes}min`, this.values[i]!.toFixed(2)];
  }
}

const loadMinutes = [1, 5, 15] as const;

/** What happened since the start, in all listeners, and how much there is of what. */
interface Figures {
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly publishedIn: number;
  readonly publishedOut: number;
  readonly payloadBytesIn: number;
  readonly payloadBytesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly dropped: number;
  /** Network connections, and CONNECT packets among them. */
  readonly accepted: number;
  readonly connects: number;
  readonly connected: number;
}

/**
 * What the broker says of itself below `$SYS/broker`, in Mosquitto's topics: at intervals, of each value that has
 * changed. Published through an exchange of its own in every virtual host, so that no AMQP binding of `#` sees it, and
 * retained for who subscribes in between.
 */
export class SystemTopics {
  private readonly broker: Broker;
  private readonly sessions: Sessions;
  private readonly options: SystemOptions;
  private readonly startedMs: number;
  private publishedMs = 0;
  private clientsMax = 0;
  private heapMax = 0;
  private readonly loads = {
    'messages/received': new Load(),
    'messages/sent': new Load(),
    'publish/received': new Load(),
    'publish/sent': new Load(),
    'publish/dropped': new Load(),
    'bytes/received': new Load(),
    'bytes/sent': new Load(),
    sockets: new Load(),
    connections: new Load(),
  };

  constructor(broker: Broker, sessions: Sessions, options: SystemOptions) {
    this.broker = broker;
    this.sessions = sessions;
    this.options = options;
    this.startedMs = broker.nowMs;
  }

  /** Called about once a second, or oftener. */
  sweep(nowMs: number): void {
    const elapsedMs = nowMs - (this.publishedMs || this.startedMs);
    if (this.publishedMs !== 0 && elapsedMs < this.options.sysIntervalSeconds * 1000) return;
    this.publishedMs = nowMs;
    const topics = [...this.topics(nowMs, Math.max(elapsedMs, 1))];
    for (const vhost of this.broker.vhosts.values()) {
      const { systemRetained } = this.sessions.of(vhost);
      for (const [topic, text] of topics) {
        const routingKey = exactSpelling.toRoutingKey(`$SYS/broker/${topic}`);
        if (systemRetained.get(routingKey, nowMs)?.body.toString() !== text) this.publish(vhost, routingKey, text);
      }
    }
  }

  private figures(): Figures {
    const sum = {
      ...{ packetsIn: 0, packetsOut: 0, publishedIn: 0, publishedOut: 0, payloadBytesIn: 0, payloadBytesOut: 0 },
      ...{ bytesIn: 0, bytesOut: 0, dropped: 0, accepted: 0, connects: 0, connected: 0 },
    };
    for (const door of this.sessions.doors) {
      sum.packetsIn += door.packetsIn;
      sum.packetsOut += door.packetsOut;
      sum.publishedIn += door.publishedIn;
      sum.publishedOut += door.publishedOut;
      sum.payloadBytesIn += door.payloadBytesIn;
      sum.payloadBytesOut += door.payloadBytesOut;
      sum.bytesIn += door.bytesInBefore;
      sum.bytesOut += door.bytesOutBefore;
      sum.dropped += door.droppedBefore;
      sum.accepted += door.accepted;
      sum.connects += door.connects;
      for (const { stream, dropped, isOpen } of door.connections) {
        sum.bytesIn += stream.bytesIn;
        sum.bytesOut += stream.bytesOut;
        sum.dropped += dropped;
        if (isOpen) sum.connected += 1;
      }
    }
    return sum;
  }

  private *topics(nowMs: number, elapsedMs: number): IterableIterator<[topic: string, text: string]> {
    const figures = this.figures();
    let [sessions, subscriptions, shared, inflight] = [0, 0, 0, 0];
    let [stored, storedBytes, retained] = [0, 0, 0];
    for (const [vhost, realm] of this.sessions.all()) {
      sessions += realm.sessions.size;
      for (const session of realm.sessions.values()) {
        subscriptions += session.subscriptions.size;
        inflight += session.inflight.size;
        for (const filter of session.subscriptions.keys()) if (filter.startsWith('$share/')) shared += 1;
      }
      for (const queue of vhost.queues.values()) {
        stored += queue.counts.ready;
        storedBytes += queue.readyBytes;
      }
      retained += vhost.retained.count;
      storedBytes += vhost.retained.bodyBytes;
    }
    stored += retained;
    const { connected } = figures;
    const away = String(Math.max(0, sessions - connected));
    const heap = process.memoryUsage().heapUsed;
    this.clientsMax = Math.max(this.clientsMax, connected);
    this.heapMax = Math.max(this.heapMax, heap);
    yield ['version', `RosettaMQ ${this.options.version}`];
    yield ['uptime', `${Math.floor((nowMs - this.startedMs) / 1000)} seconds`];
    yield ['clients/total', String(Math.max(sessions, connected))];
    yield ['clients/connected', String(connected)];
    yield ['clients/active', String(connected)];
    yield ['clients/disconnected', away];
    yield ['clients/inactive', away];
    yield ['clients/maximum', String(this.clientsMax)];
    yield ['clients/expired', String(this.sessions.expired)];
    yield ['subscriptions/count', String(subscriptions)];
    yield ['shared_subscriptions/count', String(shared)];
    yield ['retained messages/count', String(retained)];
    yield ['messages/stored', String(stored)];
    yield ['store/messages/count', String(stored)];
    yield ['store/messages/bytes', String(storedBytes)];
    yield ['messages/inflight', String(inflight)];
    yield ['messages/received', String(figures.packetsIn)];
    yield ['messages/sent', String(figures.packetsOut)];
    yield ['publish/messages/received', String(figures.publishedIn)];
    yield ['publish/messages/sent', String(figures.publishedOut)];
    yield ['publish/messages/dropped', String(figures.dropped)];
    yield ['publish/bytes/received', String(figures.payloadBytesIn)];
    yield ['publish/bytes/sent', String(figures.payloadBytesOut)];
    yield ['bytes/received', String(figures.bytesIn)];
    yield ['bytes/sent', String(figures.bytesOut)];
    yield ['heap/current', String(heap)];
    yield ['heap/maximum', String(this.heapMax)];
    const totals = {
      'messages/received': figures.packetsIn,
      'messages/sent': figures.packetsOut,
      'publish/received': figures.publishedIn,
      'publish/sent': figures.publishedOut,
      'publish/dropped': figures.dropped,
      'bytes/received': figures.bytesIn,
      'bytes/sent': figures.bytesOut,
      sockets: figures.accepted,
      connections: figures.connects,
    };
    for (const [name, load] of Object.entries(this.loads) as [keyof typeof totals, Load][]) {
      load.note(totals[name], elapsedMs);
      yield* load.topics(name);
    }
  }

  private publish(vhost: Vhost, routingKey: string, text: string): void {
    const realm = this.sessions.of(vhost);
    const bytes = Buffer.from(text, 'utf8');
    const message = new Message({
      format: mqtt3Format,
      exchange: realm.system.name,
      routingKey,
      durable: false,
      priority: -1,
      expiresAtMs: 0,
      qos: 0,
      retain: true,
      publisher: null,
      deaths: noDeaths,
      bytes,
      start: 0,
      end: bytes.length,
      nativeStart: 0,
      nativeEnd: 0,
      bodyStart: 0,
      bodyEnd: bytes.length,
    });
    realm.systemRetained.set(message);
    vhost.publish(vhost.router.routeFor(realm.system, routingKey), message, null, 0);
  }
}
