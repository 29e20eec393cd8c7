import { Message, noDeaths } from '../../core/message.ts';
import type { Vhost } from '../../core/vhost.ts';
import { mqtt3Format } from './message.ts';
import type { Mqtt, Sessions } from './protocol.ts';
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

/**
 * What the broker says of itself below `$SYS/broker`, in Mosquitto's topics. Published through an exchange of its
 * own, so that no AMQP binding of `#` sees it, and retained for who subscribes in between.
 */
export class SystemTopics {
  private readonly door: Mqtt;
  private readonly sessions: Sessions;
  private readonly startedMs: number;
  private publishedMs: number;
  private clientsMax = 0;
  private readonly loads = {
    'messages/received': new Load(),
    'messages/sent': new Load(),
    'bytes/received': new Load(),
    'bytes/sent': new Load(),
  };

  constructor(door: Mqtt, sessions: Sessions) {
    this.door = door;
    this.sessions = sessions;
    this.startedMs = door.broker.nowMs;
    this.publishedMs = 0;
  }

  /** Called about once a second. */
  sweep(nowMs: number): void {
    const elapsedMs = nowMs - (this.publishedMs || this.startedMs);
    if (this.publishedMs !== 0 && elapsedMs < this.door.options.sysIntervalSeconds * 1000) return;
    this.publishedMs = nowMs;
    for (const vhost of this.door.broker.vhosts.values()) {
      for (const [topic, text] of this.topicsOf(vhost, nowMs, Math.max(elapsedMs, 1))) this.publish(vhost, topic, text);
    }
  }

  private *topicsOf(vhost: Vhost, nowMs: number, elapsedMs: number): IterableIterator<[topic: string, text: string]> {
    const { options, connections, publishedIn, publishedOut } = this.door;
    const realm = this.sessions.of(vhost);
    const connected = [...connections].filter((each) => each.isOpen).length;
    this.clientsMax = Math.max(this.clientsMax, connected);
    let [bytesIn, bytesOut, subscriptions, dropped, inflight, waiting] = [0, 0, 0, 0, 0, 0];
    for (const { stream, dropped: lost } of connections) {
      bytesIn += stream.bytesIn;
      bytesOut += stream.bytesOut;
      dropped += lost;
    }
    bytesIn += this.door.bytesInBefore;
    bytesOut += this.door.bytesOutBefore;
    dropped += this.door.droppedBefore;
    for (const session of realm.sessions.values()) {
      subscriptions += session.subscriptions.size;
      inflight += session.inflight.size;
    }
    for (const queue of vhost.queues.values()) waiting += queue.counts.ready;
    const total = realm.sessions.size;
    yield ['version', `RosettaMQ ${options.version}`];
    yield ['uptime', `${Math.floor((nowMs - this.startedMs) / 1000)} seconds`];
    yield ['clients/total', String(Math.max(total, connected))];
    yield ['clients/connected', String(connected)];
    yield ['clients/active', String(connected)];
    yield ['clients/disconnected', String(Math.max(0, total - connected))];
    yield ['clients/inactive', String(Math.max(0, total - connected))];
    yield ['clients/maximum', String(this.clientsMax)];
    yield ['subscriptions/count', String(subscriptions)];
    yield ['retained messages/count', String(vhost.retained.count)];
    yield ['messages/stored', String(waiting + vhost.retained.count)];
    yield ['messages/received', String(publishedIn)];
    yield ['messages/sent', String(publishedOut)];
    yield ['messages/inflight', String(inflight)];
    yield ['publish/messages/received', String(publishedIn)];
    yield ['publish/messages/sent', String(publishedOut)];
    yield ['publish/messages/dropped', String(dropped)];
    yield ['bytes/received', String(bytesIn)];
    yield ['bytes/sent', String(bytesOut)];
    const totals = {
      'messages/received': publishedIn,
      'messages/sent': publishedOut,
      'bytes/received': bytesIn,
      'bytes/sent': bytesOut,
    };
    for (const [name, load] of Object.entries(this.loads) as [keyof typeof totals, Load][]) {
      load.note(totals[name], elapsedMs);
      yield* load.topics(name);
    }
  }

  private publish(vhost: Vhost, topic: string, text: string): void {
    const realm = this.sessions.of(vhost);
    const bytes = Buffer.from(text, 'utf8');
    const routingKey = exactSpelling.toRoutingKey(`$SYS/broker/${topic}`);
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
