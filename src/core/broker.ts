import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { Timers } from '../lib/timers.ts';
import type { Authenticator } from './auth.ts';
import { BlockedPublishers } from './blocked-publishers.ts';
import type { Client } from './client.ts';
import * as definitions from './definitions.ts';
import { BrokerError } from './errors.ts';
import type { Journal, Recovered } from './journal.ts';
import { operatorPolicyKind, policyKind, vhostOfPolicy } from './policies.ts';
import type { ColdStore } from './queue/cold-store.ts';
import { deduplicationKind } from './queue/deduplication.ts';
import { heldDeadLetterKind } from './queue/held-dead-letters.ts';
import type { LocalQueue } from './queue/local-queue.ts';
import { Pager, type PagingLimits } from './queue/pager.ts';
import { redeliveryKind } from './queue/redelivery.ts';
import type { ReplyAddress } from './reply.ts';
import { type RetainedLimits, retainedKind } from './retained.ts';
import { repeatKind, type Schedule, scheduleKind } from './schedule.ts';
import type { TopicMapping } from './topic.ts';
import { headersFromJson } from './typed-text.ts';
import { noMetadata, replyKind, Vhost, type VhostHost, type VhostMetadata } from './vhost.ts';

const noLimits: RetainedLimits = { countMax: Number.POSITIVE_INFINITY, bodyBytesMax: Number.POSITIVE_INFINITY };

export interface BrokerParts {
  readonly journal: Journal;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Logger;
  readonly authenticator: Authenticator;
  /** Text that nobody guesses, of letters, digits, `-` and `_`. */
  createToken(): string;
  /** The exchange whose messages can be retained; `amq.topic` when it is not said. */
  readonly retainedExchange?: string;
  readonly retainedLimits?: RetainedLimits;
  /** Of virtual hosts to come that are not given one; `exact` when it is not said. */
  readonly topicMapping?: TopicMapping;
  /** Without: none. */
  readonly limits?: BrokerLimits;
  /** Where entries rest that leave memory; without it none do, and nothing can be restored. */
  readonly paging?: { readonly store: ColdStore; readonly limits: PagingLimits };
}

/** How much of a thing there may be at a time. */
export interface BrokerLimits {
  readonly connections: number;
  readonly connectionsPerUser: number;
  readonly queuesPerVhost: number;
}

const unlimited: BrokerLimits = {
  connections: Number.POSITIVE_INFINITY,
  connectionsPerUser: Number.POSITIVE_INFINITY,
  queuesPerVhost: Number.POSITIVE_INFINITY,
};

const vhostKind = 'vhost';
/** Virtual hosts that the configuration brought in: who deleted one since does not get it back. */
const seedKind = 'vhost-seed';

/** What is remembered of a virtual host; the mapping is not there when it was made before there was a choice. */
interface VhostRecord extends VhostMetadata {
  readonly topicMapping?: TopicMapping;
}

/** All virtual hosts, the clients, and what they share. */
export class Broker implements VhostHost {
  readonly journal: Journal;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Logger;
  readonly authenticator: Authenticator;
  readonly createToken: () => string;
  readonly vhosts = new Map<string, Vhost>();
  readonly clients = new Set<Client>();
  readonly retainedExchange: string;
  readonly retainedLimits: RetainedLimits;
  private readonly topicMapping: TopicMapping;
  readonly limits: BrokerLimits;
  /** Clients let in since the start. */
  connectionsOpened = 0;
  /** Channels and sessions; MQTT and STOMP have one in each connection. */
  channelsOpened = 0;
  readonly pager: Pager | null;
  private readonly clientsOfUser = new Map<string, number>();

  /** Told after a virtual host is deleted. */
  readonly onVhostDeleted: ((vhost: Vhost) => void)[] = [];
  /** Connections that a user may have, where that is less than `limits` say; and channels in all of them. */
  connectionLimitOf: (user: string) => number = () => Number.POSITIVE_INFINITY;
  channelLimitOf: (user: string) => number = () => Number.POSITIVE_INFINITY;

  /** Why publishers wait, in a word or two that they are told (`memory`, `disk`); null = they do not. */
  alarm: string | null = null;

  /** Publishers that wait for a queue. */
  readonly blocked = new BlockedPublishers();

  private sequence = 0;
  private queueId = 0;

  constructor(parts: BrokerParts) {
    this.journal = parts.journal;
    this.clock = parts.clock;
    this.timers = parts.timers;
    this.log = parts.log;
    this.authenticator = parts.authenticator;
    this.createToken = parts.createToken;
    this.retainedExchange = parts.retainedExchange ?? 'amq.topic';
    this.retainedLimits = parts.retainedLimits ?? noLimits;
    this.topicMapping = parts.topicMapping ?? 'exact';
    this.limits = parts.limits ?? unlimited;
    this.pager =
      parts.paging === undefined
        ? null
        : new Pager({ ...parts.paging, timers: parts.timers, log: parts.log, queues: () => this.queues() });
  }

  private *queues(): Iterable<LocalQueue | Schedule> {
    for (const vhost of this.vhosts.values()) yield* vhost.queues.values();
    yield* this.schedules();
  }

  private *schedules(): Iterable<Schedule> {
    for (const vhost of this.vhosts.values()) {
      for (const { schedule } of vhost.exchanges.values()) if (schedule !== null) yield schedule;
    }
  }

  /** Messages whose time came while the broker was down are routed: everybody who may want them is there again. */
  startSchedules(): void {
    for (const schedule of this.schedules()) schedule.start();
  }

  get nowMs(): number {
    return this.clock.nowMs;
  }

  get queuesPerVhost(): number {
    return this.limits.queuesPerVhost;
  }

  nextSequence(): number {
    this.sequence += 1;
    return this.sequence;
  }

  nextQueueId(): number {
    this.queueId += 1;
    return this.queueId;
  }

  addVhost(name: string, topicMapping: TopicMapping = 'exact'): Vhost {
    let vhost = this.vhosts.get(name);
    if (vhost === undefined) {
      vhost = new Vhost(name, this, topicMapping);
      this.vhosts.set(name, vhost);
    }
    return vhost;
  }

  /** @throws BrokerError not-allowed in RabbitMQ's words */
  getVhost(name: string): Vhost {
    const vhost = this.vhosts.get(name);
    if (vhost === undefined) throw new BrokerError('not-allowed', `vhost ${name} not found`);
    return vhost;
  }

  /** @param why null: it is over */
  setAlarm(why: string | null): void {
    if (why === this.alarm) return;
    this.alarm = why;
    for (const client of this.clients) client.onAlarm?.(why ?? this.blocked.find(client));
  }

  /**
   * A virtual host that is remembered; what is there already gets the metadata, if some is given, and keeps its mapping
   * of topics.
   */
  createVhost(name: string, metadata?: VhostMetadata, topicMapping = this.topicMapping): Vhost {
    if (name === '' || name.includes('\0')) throw new BrokerError('invalid-field', `'${name}' is no name of a vhost`);
    const isNew = !this.vhosts.has(name);
    const vhost = this.addVhost(name, topicMapping);
    if (!isNew && metadata === undefined) return vhost;
    vhost.metadata = metadata ?? noMetadata;
    const record: VhostRecord = { ...vhost.metadata, topicMapping: vhost.topicMapping };
    this.journal.put(vhostKind, name, Buffer.from(JSON.stringify(record), 'utf8'));
    return vhost;
  }

  /** Brings in the virtual hosts of the configuration, each once in the life of the data directory. */
  seedVhosts(names: readonly string[], recovered: Recovered): void {
    const known = new Set([...recovered.entries(seedKind)].map(([name]) => name));
    for (const name of names) {
      if (known.has(name)) continue;
      this.createVhost(name);
      this.journal.put(seedKind, name, Buffer.alloc(0));
    }
  }

  /** Closes its connections and deletes all that is in it. @returns false when there is none */
  deleteVhost(name: string): boolean {
    const vhost = this.vhosts.get(name);
    if (vhost === undefined) return false;
    this.vhosts.delete(name);
    for (const client of [...vhost.clients]) client.close('connection-forced', `vhost '${name}' is deleted`);
    vhost.clear();
    for (const told of this.onVhostDeleted) told(vhost);
    this.journal.delete(vhostKind, name);
    return true;
  }

  /**
   * Gives up the consumers of clients that are about to be closed together: what one of them returns is not for the next,
   * which would return it too, once more than it was delivered to anybody who could have it.
   */
  detachConsumers(goes: (client: Client) => boolean): void {
    for (const { queues } of this.vhosts.values()) {
      for (const queue of [...queues.values()]) {
        for (const consumer of [...queue.consumers]) if (goes(consumer.client)) queue.detach(consumer);
      }
    }
  }

  /** Closes them together. */
  closeClients(goes: (client: Client) => boolean, why: string): void {
    this.detachConsumers(goes);
    for (const client of [...this.clients]) if (goes(client)) client.close('connection-forced', why);
  }

  /** Is there room for one more client? Asked before it is let in. @throws BrokerError quota-exceeded */
  demandRoom(user: string, vhost: Vhost): void {
    const { connections, connectionsPerUser } = this.limits;
    const refused = `access to vhost '${vhost.name}' refused for user '${user}'`;
    const ofVhost = vhost.limits.connections;
    if (vhost.clients.size >= ofVhost) {
      throw new BrokerError('quota-exceeded', `${refused}: connection limit (${ofVhost}) is reached`);
    }
    if (this.clients.size >= connections) {
      throw new BrokerError('quota-exceeded', `${refused}: connection limit (${connections}) is reached`);
    }
    const ofUser = Math.min(connectionsPerUser, this.connectionLimitOf(user));
    if ((this.clientsOfUser.get(user) ?? 0) >= ofUser) {
      const text = `connection refused for user '${user}': user connection limit (${ofUser}) is reached`;
      throw new BrokerError('quota-exceeded', text); // in RabbitMQ's words, as above
    }
  }

  /** The user opens one more channel. @throws BrokerError not-allowed in RabbitMQ's words when there is no room for it */
  demandChannel(user: string): void {
    const limit = this.channelLimitOf(user);
    if (limit < Number.POSITIVE_INFINITY && this.channelsOf(user) >= limit) {
      throw new BrokerError(
        'not-allowed',
        `number of channels opened for user '${user}' has reached the maximum allowed user limit of (${limit})`,
      );
    }
    this.channelsOpened += 1;
  }

  private channelsOf(user: string): number {
    let open = 0;
    for (const client of this.clients) if (client.user === user) open += client.describeChannels().length;
    return open;
  }

  addClient(client: Client): void {
    this.clients.add(client);
    this.connectionsOpened += 1;
    this.clientsOfUser.set(client.user, (this.clientsOfUser.get(client.user) ?? 0) + 1);
    client.vhost.clients.add(client);
    if (this.alarm !== null) client.onAlarm?.(this.alarm);
  }

  /** To be called once for each client added, after it has given up its consumers. */
  clientGone(client: Client): void {
    this.blocked.forget(client);
    if (!this.clients.delete(client)) return;
    const left = (this.clientsOfUser.get(client.user) ?? 1) - 1;
    if (left === 0) this.clientsOfUser.delete(client.user);
    else this.clientsOfUser.set(client.user, left);
    client.vhost.clientGone(client);
  }

  /** Puts back what the journal remembers; called once, before anybody connects. */
  restore(recovered: Recovered): void {
    const byId = new Map<number, LocalQueue>();
    this.sequence = recovered.lastSequence;
    this.queueId = recovered.lastQueueId;
    for (const [name, value] of recovered.entries(vhostKind)) {
      if (value.length === 0) this.addVhost(name);
      else {
        const { topicMapping, ...metadata } = JSON.parse(value.toString('utf8')) as VhostRecord;
        this.addVhost(name, topicMapping).metadata = metadata;
      }
    }
    for (const [key, value] of recovered.entries(policyKind)) this.addVhost(vhostOfPolicy(key)).policies.restore(value);
    for (const [key, value] of recovered.entries(operatorPolicyKind)) {
      this.addVhost(vhostOfPolicy(key)).operatorPolicies.restore(value);
    }
    for (const [key, value] of recovered.entries('exchange')) {
      const [vhost] = definitions.splitKey(key);
      this.addVhost(vhost).addExchange(definitions.decodeExchange(value));
    }
    for (const [key, value] of recovered.entries('queue')) {
      const [vhost] = definitions.splitKey(key);
      const { id, spec } = definitions.decodeQueue(value);
      byId.set(id, this.addVhost(vhost).addQueue(spec, id));
      this.queueId = Math.max(this.queueId, id);
    }
    for (const [key, value] of recovered.entries('binding')) this.restoreBinding(key, value);
    for (const [key, value] of recovered.entries(retainedKind)) {
      const [vhost, routingKey] = definitions.splitKey(key);
      this.addVhost(vhost).retained.restore(routingKey, value);
    }
    for (const [key, value] of recovered.entries(replyKind)) {
      const [vhost, token] = definitions.splitKey(key);
      this.addVhost(vhost).replies.restore(token, JSON.parse(value.toString('utf8')) as ReplyAddress);
    }
    for (const [key, value] of recovered.entries(redeliveryKind)) {
      const [id, sequence] = definitions.splitKey(key);
      byId.get(Number(id))?.restoreRedelivery(Number(sequence), value);
    }
    for (const [key, value] of recovered.entries(heldDeadLetterKind)) {
      const [id, sequence] = definitions.splitKey(key);
      byId.get(Number(id))?.restoreDeath(Number(sequence), value);
    }
    for (const [key, value] of recovered.entries(deduplicationKind)) {
      const [id, message] = definitions.splitKey(key);
      byId.get(Number(id))?.restoreDeduplication(message, value);
    }
    const schedules = this.restoreSchedules(recovered);
    for (const each of recovered.queues()) {
      const queue = byId.get(each.id);
      const schedule = schedules.get(each.id);
      if (this.pager !== null && queue !== undefined) queue.restore(each, this.pager);
      else if (this.pager !== null && schedule !== undefined) schedule.restore(each, this.pager.store);
      else recovered.forget(each);
    }
    this.journal.restored();
  }

  private restoreSchedules(recovered: Recovered): Map<number, Schedule> {
    const byId = new Map<number, Schedule>();
    for (const [key, value] of recovered.entries(scheduleKind)) {
      const [vhostName, exchangeName] = definitions.splitKey(key);
      const vhost = this.addVhost(vhostName);
      const id = Number(value.toString('latin1'));
      this.queueId = Math.max(this.queueId, id);
      const exchange = vhost.exchanges.get(exchangeName);
      if (exchange !== undefined) byId.set(id, vhost.addSchedule(exchange, id));
    }
    for (const [key, value] of recovered.entries(repeatKind)) {
      const [id, sequence] = definitions.splitKey(key);
      byId.get(Number(id))?.restoreRepeat(Number(sequence), value);
    }
    return byId;
  }

  private restoreBinding(key: string, value: Buffer): void {
    const vhost = this.addVhost(definitions.splitKey(key)[0]);
    const record = definitions.decodeBinding(value);
    const destinations = record.destinationType === 'queue' ? vhost.queues : vhost.exchanges;
    const source = vhost.exchanges.get(record.source);
    const destination = destinations.get(record.destination);
    if (source === undefined || destination === undefined) return;
    vhost.linkBinding({
      source,
      destination,
      key: record.key,
      pattern: record.pattern,
      arguments: headersFromJson(record.arguments),
      subscription: null,
    });
  }
}
