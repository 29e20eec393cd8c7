import { AmqpLink } from './amqp.ts';
import { Amqp10Link } from './amqp10.ts';
import { cpuMicros, peakResidentBytes, resetPeak, residentBytes } from './cost.ts';
import { Latencies } from './latency.ts';
import { type Link, type Load, Topic } from './link.ts';
import { MqttLink } from './mqtt.ts';
import { StompLink } from './stomp.ts';
import { Wire } from './wire.ts';

export const protocols = ['amqp', 'amqp10', 'mqtt', 'stomp'] as const;
export type ProtocolName = (typeof protocols)[number];

export interface Scenario extends Omit<Load, 'run' | 'user' | 'password'> {
  readonly pub: ProtocolName;
  readonly sub: ProtocolName | 'none';
  readonly pubs: number;
  readonly subs: number;
  /** Messages of a publisher under way at most; 0: as many as the broker reads. */
  readonly window: number;
  /** Messages a second of all publishers together; 0: as fast as the window allows. */
  readonly rate: number;
  readonly warmupSeconds: number;
  readonly seconds: number;
  /** When above 0 the run ends after so many messages, instead of by time. */
  readonly messages: number;
}

export interface Target {
  readonly host: string;
  readonly ports: Readonly<Record<ProtocolName, number>>;
  /** The broker's process, whose cost is measured; null when it is not on this machine. */
  readonly pid: number | null;
  readonly user: string;
  readonly password: string;
}

export interface Result {
  readonly seconds: number;
  readonly published: number;
  /** What all subscribers together received; without subscribers what was published. */
  readonly messages: number;
  readonly messagesPerSecond: number;
  readonly lost: number;
  readonly latencyMicros: { readonly p50: number; readonly p99: number; readonly p999: number };
  readonly brokerCpuMicrosPerMessage: number;
  /** Share of one core. */
  readonly brokerCpu: number;
  /** Share of one core; from 0.9 on it is the generator that is measured. */
  readonly generatorCpu: number;
  readonly rssBytes: { readonly before: number; readonly peak: number; readonly after: number };
}

interface Publisher {
  readonly link: Link;
  readonly topic: Topic;
  readonly batch: number;
}

/** Without progress for so long, what is missing counts as lost. */
const stalledMs = 5000;

export async function run(scenario: Scenario, target: Target): Promise<Result> {
  const bench = new Run(scenario, target);
  try {
    return await bench.measure();
  } finally {
    bench.close();
  }
}

class Run {
  private readonly scenario: Scenario;
  private readonly target: Target;
  private readonly load: Load;
  private readonly latencies = new Latencies();
  private readonly topics: Topic[] = [];
  private readonly links: Link[] = [];
  private readonly publishers: Publisher[] = [];
  private publishing = true;
  private allowed = Number.POSITIVE_INFINITY;
  private pumpDue = false;
  private failure: Error | null = null;

  constructor(scenario: Scenario, target: Target) {
    this.scenario = scenario;
    this.target = target;
    const { user, password } = target;
    this.load = { ...scenario, user, password, run: Math.random().toString(36).slice(2, 8) };
  }

  async measure(): Promise<Result> {
    const { scenario, target } = this;
    await this.connect();
    const { pid } = target;
    if (pid !== null) resetPeak(pid);
    const before = pid === null ? 0 : residentBytes(pid);
    if (scenario.messages > 0) this.allowed = scenario.messages;
    const pacer = scenario.rate > 0 ? this.pace(scenario.rate) : null;
    this.pumpSoon();
    if (scenario.messages === 0) await sleep(scenario.warmupSeconds * 1000);
    const start = this.snapshot();
    this.latencies.clear();
    if (scenario.messages > 0) await this.settled();
    else await sleep(scenario.seconds * 1000);
    const end = this.snapshot();
    const [p50, p99, p999] = [0.5, 0.99, 0.999].map((q) => this.latencies.quantile(q)) as [number, number, number];
    this.publishing = false;
    if (pacer !== null) clearInterval(pacer);
    await this.settled();
    if (this.failure !== null) throw this.failure;
    const peak = pid === null ? 0 : peakResidentBytes(pid);
    await sleep(500);
    const after = pid === null ? 0 : residentBytes(pid);
    const seconds = (end.atMs - start.atMs) / 1000;
    const messages = end.messages - start.messages;
    const brokerMicros = end.brokerMicros - start.brokerMicros;
    return {
      seconds,
      published: end.published - start.published,
      messages,
      messagesPerSecond: messages / seconds,
      lost: this.missing(),
      latencyMicros: { p50, p99, p999 },
      brokerCpuMicrosPerMessage: brokerMicros / messages,
      brokerCpu: brokerMicros / seconds / 1e6,
      generatorCpu: (end.ownMicros - start.ownMicros) / seconds / 1e6,
      rssBytes: { before, peak, after },
    };
  }

  close(): void {
    this.publishing = false;
    for (const link of this.links) link.wire.close();
  }

  private async connect(): Promise<void> {
    const { scenario } = this;
    const subs = scenario.sub === 'none' ? 0 : scenario.subs;
    const topics = subs === 0 ? scenario.pubs : Math.min(scenario.pubs, subs);
    for (let i = 0; i < topics; i++) {
      const topic = new Topic(i);
      topic.onProgress = () => this.pumpSoon();
      this.topics.push(topic);
    }
    for (let i = 0; i < subs; i++) {
      const topic = this.topics[i % topics]!;
      const link = await this.open(scenario.sub as ProtocolName, topic);
      await link.subscribe();
      topic.subscribers += 1;
    }
    for (let i = 0; i < scenario.pubs; i++) {
      const topic = this.topics[i % topics]!;
      const link = await this.open(scenario.pub, topic);
      link.wire.onIdle = () => this.pumpSoon();
      topic.publishers += 1;
      this.publishers.push({ link, topic, batch: link.prepare() });
    }
    for (const link of this.links) {
      link.wire.onClosed = (why) => {
        this.failure ??= new Error(`a connection was lost: ${why}`);
      };
    }
  }

  private async open(protocol: ProtocolName, topic: Topic): Promise<Link> {
    const { target, load, latencies } = this;
    const wire = await Wire.connect(target.host, target.ports[protocol]);
    const link = new links[protocol]({ wire, load, topic, latencies });
    this.links.push(link);
    await link.open();
    return link;
  }

  private pumpSoon(): void {
    if (this.pumpDue) return;
    this.pumpDue = true;
    setImmediate(() => {
      this.pumpDue = false;
      if (this.publishing) this.pump();
    });
  }

  // Every publisher sends what its window has room for, at most one write each.
  private pump(): void {
    const { window } = this.scenario;
    let more = false;
    for (const { link, topic, batch } of this.publishers) {
      if (link.wire.busy || link.wire.closed) continue;
      let count = Math.min(batch, this.allowed);
      if (window > 0) count = Math.min(count, window * topic.publishers - topic.inFlight(link.confirms), window);
      if (link.room !== undefined) count = Math.min(count, link.room);
      if (count <= 0) continue;
      this.allowed -= count;
      link.publish(count);
      if (window === 0 && !link.wire.busy) more = true;
    }
    if (more && this.allowed > 0) this.pumpSoon();
  }

  private pace(rate: number): NodeJS.Timeout {
    const startMs = performance.now();
    let given = 0;
    this.allowed = 0;
    return setInterval(() => {
      const due = Math.floor(((performance.now() - startMs) * rate) / 1000);
      this.allowed += due - given;
      given = due;
      this.pump();
    }, 1);
  }

  private missing(): number {
    let missing = 0;
    for (const topic of this.topics) {
      missing += topic.published * topic.subscribers - topic.delivered;
      if (topic.subscribers === 0 && this.publishers[0]!.link.confirms) missing += topic.published - topic.confirmed;
    }
    return missing;
  }

  private get progress(): number {
    let sum = 0;
    for (const topic of this.topics) sum += topic.published + topic.confirmed + topic.delivered;
    return sum;
  }

  /** Waits until everything published has arrived, or nothing moves any longer. */
  private async settled(): Promise<void> {
    let last = -1;
    let movedMs = performance.now();
    for (;;) {
      const done = !this.publishing || (this.scenario.messages > 0 && this.allowed === 0);
      if (this.failure !== null || (done && this.missing() === 0)) return;
      if (this.progress !== last) {
        last = this.progress;
        movedMs = performance.now();
      } else if (performance.now() - movedMs > stalledMs) return;
      await sleep(2);
    }
  }

  private snapshot() {
    const { pid } = this.target;
    let published = 0;
    let delivered = 0;
    for (const topic of this.topics) {
      published += topic.published;
      delivered += topic.delivered;
    }
    return {
      atMs: performance.now(),
      published,
      messages: this.scenario.sub === 'none' ? published : delivered,
      brokerMicros: pid === null ? Number.NaN : cpuMicros(pid),
      ownMicros: process.cpuUsage().user + process.cpuUsage().system,
    };
  }
}

const links = { amqp: AmqpLink, amqp10: Amqp10Link, mqtt: MqttLink, stomp: StompLink } as const;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
