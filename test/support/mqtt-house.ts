import { duplexPair } from 'node:stream';
import { Permissions } from '../../src/auth/permissions.ts';
import { Users } from '../../src/auth/users.ts';
import { Broker, type BrokerLimits } from '../../src/core/broker.ts';
import type { RetainedLimits } from '../../src/core/retained.ts';
import type { TopicMapping } from '../../src/core/topic.ts';
import type { Vhost } from '../../src/core/vhost.ts';
import { silent } from '../../src/lib/log.ts';
import { Mqtt, type MqttOptions, Sessions, type SessionsOptions } from '../../src/protocols/mqtt/protocol.ts';
import { SegmentJournal } from '../../src/storage/journal.ts';
import { Stream } from '../../src/transport/stream.ts';
import { ManualClock } from './core.ts';
import { noPaging } from './journaled.ts';
import { MqttPeer, type Received, type Version } from './mqtt-peer.ts';
import { SimulatedDisk } from './simulated-disk.ts';

export interface HouseOptions {
  readonly mqtt?: Partial<MqttOptions>;
  readonly sessions?: Partial<SessionsOptions>;
  readonly limits?: BrokerLimits;
  readonly retained?: RetainedLimits;
  readonly topicMapping?: TopicMapping;
}

const mqttDefaults: MqttOptions = {
  exchange: 'amq.topic',
  vhost: '/',
  packetBytes: 1024 * 1024,
  bodyBytes: 1024 * 1024,
  rejectsLosses: false,
  inflightMax: 1000,
  receiveMaximum: 65_535,
  topicAliasMaximum: 16,
  sessionExpiryMaxSeconds: 0xffff_ffff,
  keepAliveMaxSeconds: 0,
  loginTimeoutMs: 10_000,
  validatePayloadFormat: false,
  anonymous: false,
  v3: [],
  clientIdHeader: false,
};

const sessionsDefaults: SessionsOptions = {
  exchange: 'amq.topic',
  keepsQos0: false,
  qosFromPersistence: false,
  queueLength: 0,
  sysIntervalSeconds: 0,
  version: '0.0.0',
};

/** MQTT's door in this process, with users, on a journal and a disk that is not there, and on a clock that tests move. */
export class MqttHouse {
  readonly clock = new ManualClock();
  readonly disk: SimulatedDisk;
  readonly journal: SegmentJournal;
  readonly broker: Broker;
  readonly vhost: Vhost;
  readonly users: Users;
  readonly permissions: Permissions;
  readonly sessions: Sessions;
  readonly door: Mqtt;
  /** What went wrong with ourselves; a test that does not look for faults expects none. */
  readonly faults: unknown[] = [];
  private readonly options: HouseOptions;

  private constructor(parts: {
    disk: SimulatedDisk;
    journal: SegmentJournal;
    clock: ManualClock;
    options: HouseOptions;
  }) {
    const { disk, journal, clock, options } = parts;
    this.disk = disk;
    this.journal = journal;
    this.clock = clock;
    this.options = options;
    this.permissions = new Permissions(journal);
    this.users = new Users({
      journal,
      clock,
      permissions: this.permissions,
      anonymous: { enabled: false, user: 'guest' },
      scryptCost: 1024,
      hashesAtOnce: 1,
    });
    let tokens = 0;
    this.broker = new Broker({
      journal,
      clock,
      timers: clock.timers,
      log: { ...silent, error: (fault: unknown) => this.faults.push(fault) },
      createToken: () => `token-${++tokens}`,
      authenticator: this.users,
      paging: { store: journal.cold, limits: noPaging },
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      ...(options.retained === undefined ? {} : { retainedLimits: options.retained }),
    });
    this.vhost = this.broker.addVhost('/', options.topicMapping);
    this.sessions = new Sessions(this.broker, { ...sessionsDefaults, ...options.sessions });
    this.door = new Mqtt(this.broker, this.sessions, { ...mqttDefaults, ...options.mqtt });
  }

  /** With the user guest, who may do everything. */
  static async open(options: HouseOptions = {}, disk = new SimulatedDisk(), sinceMs = 0): Promise<MqttHouse> {
    const clock = new ManualClock();
    clock.nowMs += sinceMs;
    const { journal, recovered } = await SegmentJournal.open(disk, {
      segmentBytes: 1024 * 1024,
      log: silent,
      clock,
      timers: clock.timers,
    });
    const house = new MqttHouse({ disk, journal, clock, options });
    house.permissions.restore(recovered);
    house.users.restore(recovered);
    house.broker.restore(recovered);
    await house.sessions.restore(recovered);
    house.permissions.onChanged = () => house.vhost.router.change();
    if (house.users.find('guest') === undefined) await house.addUser('guest', 'guest');
    return house;
  }

  async addUser(
    name: string,
    password: string,
    permission = { configure: '.*', write: '.*', read: '.*' },
  ): Promise<void> {
    await this.users.put(name, { password, tags: [], loopbackOnly: false });
    this.permissions.set('/', name, permission);
  }

  /** A connection that has said nothing yet. */
  dial(version: Version = 5): MqttPeer {
    const [near, far] = duplexPair();
    // The kernel copies; a pair hands on the very buffer, which the stream uses again.
    const write = near.write.bind(near) as (chunk: Buffer, done: () => void) => boolean;
    near.write = ((chunk: Buffer, done: () => void) => write(Buffer.from(chunk), done)) as typeof near.write;
    const stream = new Stream(near, this.clock, this.broker.log, {
      address: '127.0.0.1',
      port: 1,
      local: '127.0.0.1:1883',
    });
    stream.handler = this.door.accept(stream);
    near.on('data', (chunk: Buffer) => stream.receive(chunk, chunk.length));
    return new MqttPeer(far, version);
  }

  async connect(options: object = {}, version: Version = 5): Promise<{ peer: MqttPeer; connack: Received }> {
    const peer = this.dial(version);
    peer.sendConnect(options);
    return { peer, connack: await peer.next() };
  }

  /** Time passes: what is due happens, and connections are looked after as they are once a second. */
  pass(seconds: number): void {
    this.clock.advance(seconds * 1000);
    this.door.sweep();
    this.vhost.retained.sweep(this.clock.nowMs);
  }

  /** Everything promised so far is on the disk. */
  durable(): Promise<void> {
    return new Promise((resolve) => this.journal.whenDurable(this.journal.position, resolve));
  }

  /** The process is killed, and started again so many seconds later on what the disk then holds. */
  async crash(seconds = 0): Promise<MqttHouse> {
    const disk = SimulatedDisk.holding(this.disk.contents());
    const since = this.clock.nowMs + seconds * 1000 - new ManualClock().nowMs;
    return await MqttHouse.open(this.options, disk, since);
  }
}
