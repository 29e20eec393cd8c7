import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { Broker } from '../core/broker.ts';
import { conversionLosses } from '../core/losses.ts';
import type { Vhost } from '../core/vhost.ts';

/** The broker's totals for Prometheus: plain fields, read when somebody asks. */
export class Metrics {
  private readonly registry = new Registry();
  private watchesRuntime = false;

  constructor(broker: Broker, version: string) {
    const registers = [this.registry];
    const build = new Gauge({ name: 'rosettamq_build_info', help: 'Always 1', labelNames: ['version'], registers });
    build.set({ version }, 1);

    const gauge = (name: string, help: string, of: (vhost: Vhost) => number): void => {
      const metric: Gauge<'vhost'> = new Gauge({
        name: `rosettamq_${name}`,
        help,
        labelNames: ['vhost'],
        registers,
        collect: () => {
          metric.reset();
          for (const vhost of broker.vhosts.values()) metric.set({ vhost: vhost.name }, of(vhost));
        },
      });
    };
    const counter = (name: string, help: string, of: (vhost: Vhost) => number): void => {
      const metric: Counter<'vhost'> = new Counter({
        name: `rosettamq_${name}_total`,
        help,
        labelNames: ['vhost'],
        registers,
        collect: () => {
          metric.reset();
          for (const vhost of broker.vhosts.values()) metric.inc({ vhost: vhost.name }, of(vhost));
        },
      });
    };
    gauge('connections', 'Clients that are logged in', (vhost) => vhost.clients.size);
    gauge('queues', 'Queues', (vhost) => vhost.queues.size);
    gauge('exchanges', 'Exchanges', (vhost) => vhost.exchanges.size);
    gauge('consumers', 'Consumers', (vhost) => sum(vhost, 'consumers'));
    gauge('queue_messages_ready', 'Messages ready to be delivered', (vhost) => sum(vhost, 'ready'));
    gauge('queue_messages_unacked', 'Messages delivered and not acknowledged', (vhost) => sum(vhost, 'unacked'));
    gauge('queue_messages_dead', 'Dead letters that wait until all their queues take them', held);
    gauge('messages_delayed', 'Messages that wait for their time', delayed);
    counter('messages_published', 'Messages that publishers gave us', (vhost) => vhost.publishedIn);
    counter('messages_unroutable', 'Messages that no queue wanted', (vhost) => vhost.unroutable);
    const losses: Counter<'from' | 'to' | 'field'> = new Counter({
      name: 'rosettamq_conversion_loss_total',
      help: 'What translations from one protocol to another could not say at all',
      labelNames: ['from', 'to', 'field'],
      registers,
      collect: () => {
        losses.reset();
        for (const { from, to, field, count } of conversionLosses.all()) losses.inc({ from, to, field }, count);
      },
    });
    const alarms: Gauge<'resource'> = new Gauge({
      name: 'rosettamq_alarm',
      help: '1 while publishers wait because there is too little of it',
      labelNames: ['resource'],
      registers,
      collect: () => {
        for (const resource of ['memory', 'disk']) alarms.set({ resource }, broker.alarm?.includes(resource) ? 1 : 0);
      },
    });
    this.single(Gauge, 'journal_writable', '0 while the disk refuses: durable messages are not taken', () =>
      broker.journal.writable ? 1 : 0,
    );
    this.single(Counter, 'connections_opened_total', 'Clients let in since the start', () => broker.connectionsOpened);
    this.single(Gauge, 'journal_backlog_bytes', 'Octets on their way to the disk', () => broker.journal.backlogBytes);
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  /** In Prometheus' text format. */
  render(): Promise<string> {
    this.watchRuntime();
    return this.registry.metrics();
  }

  // From the first question on: to watch the event loop's lag wakes an idle broker a hundred times a second (4 ms of CPU).
  private watchRuntime(): void {
    if (this.watchesRuntime) return;
    this.watchesRuntime = true;
    collectDefaultMetrics({ register: this.registry });
  }

  private single(kind: typeof Counter | typeof Gauge, name: string, help: string, read: () => number): void {
    const metric: Counter | Gauge = new kind({
      name: `rosettamq_${name}`,
      help,
      registers: [this.registry],
      collect: () => {
        metric.reset();
        metric.inc(read());
      },
    });
  }
}

function delayed(vhost: Vhost): number {
  let total = 0;
  for (const { schedule } of vhost.exchanges.values()) total += schedule?.count ?? 0;
  return total;
}

function held(vhost: Vhost): number {
  let total = 0;
  for (const queue of vhost.queues.values()) total += queue.deadHeld.count;
  return total;
}

function sum(vhost: Vhost, field: 'consumers' | 'ready' | 'unacked'): number {
  let total = 0;
  for (const queue of vhost.queues.values()) total += queue.counts[field];
  return total;
}
