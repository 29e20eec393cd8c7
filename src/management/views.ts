import type { ChannelCounts, ChannelView, Client } from '../core/client.ts';
import type { Binding } from '../core/exchange/binding.ts';
import { Exchange } from '../core/exchange/exchange.ts';
import type { LocalQueue } from '../core/queue/local-queue.ts';
import type { Consumer, Queue } from '../core/queue/queue.ts';
import type { QueueCount } from '../core/topology.ts';
import type { Vhost } from '../core/vhost.ts';
import { headersToJson } from './arguments.ts';
import { propertiesKey } from './binding-key.ts';
import type { Management } from './context.ts';
import { Rates } from './rates.ts';

/** How the API shows what the core has, under RabbitMQ's names. */
export class Views {
  readonly rates: Rates;
  private readonly management: Management;

  constructor(management: Management) {
    this.management = management;
    this.rates = new Rates(() => management.broker.nowMs);
  }

  private get node(): string {
    return this.management.node.name;
  }

  // — connections —————————————————————————————————————————————————————————————————————————————————————————————————

  connectionName(client: Client): string {
    return `${client.peer} -> ${client.describe().local}`;
  }

  connection(client: Client): Record<string, unknown> {
    const view = client.describe();
    const [peerHost, peerPort] = splitAddress(client.peer);
    const [host, port] = splitAddress(view.local);
    const properties = headersToJson(view.properties);
    const { tls } = view;
    return {
      auth_mechanism: view.mechanism,
      channel_max: view.channelMax,
      channels: client.describeChannels().length,
      client_properties: properties,
      connected_at: client.connectedAtMs,
      frame_max: view.frameMax,
      host,
      name: this.connectionName(client),
      node: this.node,
      peer_cert_issuer: tls?.peerCertificate?.issuer ?? null,
      peer_cert_subject: tls?.peerCertificate?.subject ?? null,
      peer_cert_validity: tls?.peerCertificate?.validity ?? null,
      peer_host: peerHost,
      peer_port: peerPort,
      port,
      protocol: view.protocol,
      ...this.rates.detail(client, { recv_oct: view.bytesIn, send_oct: view.bytesOut }, client.connectedAtMs),
      recv_cnt: view.reads,
      send_cnt: view.writes,
      send_pend: 0,
      ssl: tls !== null,
      ssl_cipher: tls?.cipher ?? null,
      ssl_hash: tls?.hash ?? null,
      ssl_key_exchange: tls?.keyExchange ?? null,
      ssl_protocol: tls?.protocol ?? null,
      state: view.state,
      timeout: view.heartbeatSeconds,
      type: 'network',
      user: client.user,
      user_who_performed_action: client.user,
      ...(client.clientId === undefined ? {} : { variable_map: { client_id: client.clientId } }),
      ...(typeof properties['connection_name'] === 'string'
        ? { user_provided_name: properties['connection_name'] }
        : {}),
      vhost: client.vhost.name,
    };
  }

  channelName(client: Client, number: number): string {
    return `${this.connectionName(client)} (${number})`;
  }

  channel(client: Client, view: ChannelView): Record<string, unknown> {
    return {
      acks_uncommitted: view.uncommittedAcks,
      confirm: view.confirms,
      connection_details: this.connectionDetails(client),
      consumer_count: view.consumers,
      global_prefetch_count: view.globalPrefetch,
      message_stats: this.rates.detail(
        this.rates.within(client, view.number),
        channelStats(view.counts),
        client.connectedAtMs,
      ),
      messages_unacknowledged: view.unacked,
      messages_uncommitted: view.uncommittedMessages,
      messages_unconfirmed: view.unconfirmed,
      name: this.channelName(client, view.number),
      node: this.node,
      number: view.number,
      prefetch_count: view.prefetch,
      state: view.state,
      transactional: view.transactional,
      user: client.user,
      user_who_performed_action: client.user,
      vhost: client.vhost.name,
    };
  }

  private connectionDetails(client: Client): Record<string, unknown> {
    const [host, port] = splitAddress(client.peer);
    return { name: this.connectionName(client), peer_host: host, peer_port: port };
  }

  consumer(queue: LocalQueue, vhost: Vhost, consumer: Consumer): Record<string, unknown> {
    const { client } = consumer;
    const [host, port] = splitAddress(client.peer);
    const active = queue.isActive(consumer);
    return {
      ack_required: !consumer.settles,
      active,
      activity_status: active ? (queue.options.singleActiveConsumer ? 'single_active' : 'up') : 'waiting',
      arguments: headersToJson(consumer.arguments),
      channel_details: {
        connection_name: this.connectionName(client),
        name: this.channelName(client, consumer.channel),
        node: this.node,
        number: consumer.channel,
        peer_host: host,
        peer_port: port,
        user: client.user,
      },
      consumer_tag: consumer.tag,
      exclusive: consumer.exclusive,
      prefetch_count: consumer.prefetch,
      queue: { name: queue.name, vhost: vhost.name },
    };
  }

  // — topology ————————————————————————————————————————————————————————————————————————————————————————————————————

  queue(queue: LocalQueue, vhost: Vhost): Record<string, unknown> {
    const { ready, unacked, consumers } = queue.counts;
    const { deadHeld } = queue;
    const owner = queue.spec.exclusiveTo;
    const single = queue.options.singleActiveConsumer;
    const inMemory = queue.memoryEntries + unacked;
    const inMemoryBytes = queue.memoryBytes + queue.unackedBytes;
    const hasRoom = queue.consumers.some(({ ready }) => ready) ? 1 : 0;
    const activeTag = single ? (queue.consumers.find((each) => queue.isActive(each))?.tag ?? null) : null;
    return {
      ...this.queueBasics(queue, vhost),
      consumer_capacity: hasRoom,
      consumer_utilisation: hasRoom,
      consumers,
      effective_arguments: headersToJson(queue.effective),
      effective_policy_definition: queue.policyDefinition,
      exclusive_consumer_tag: queue.consumers.find(({ exclusive }) => exclusive)?.tag ?? null,
      head_message_timestamp: timestampOf(queue),
      memory: inMemoryBytes + inMemory * entryBytes,
      message_bytes: queue.readyBytes + queue.unackedBytes + deadHeld.bytes,
      ...(queue.options.type === 'quorum' ? { message_bytes_dlx: deadHeld.bytes } : {}),
      message_bytes_paged_out: queue.readyBytes + deadHeld.bytes - queue.memoryBytes,
      message_bytes_ram: inMemoryBytes,
      message_bytes_ready: queue.readyBytes,
      message_bytes_unacknowledged: queue.unackedBytes,
      message_stats: this.rates.detail(queue, queueStats(queue), this.management.node.startedAtMs),
      ...this.rates.detail(queue, {
        messages: ready + unacked + deadHeld.count,
        messages_ready: ready,
        messages_unacknowledged: unacked,
      }),
      ...(queue.options.type === 'quorum' ? { messages_dlx: deadHeld.count } : {}),
      messages_paged_out: ready + deadHeld.count - queue.memoryEntries,
      messages_ram: inMemory,
      messages_ready_ram: queue.memoryEntries - deadHeld.memoryCount,
      messages_unacknowledged_ram: unacked,
      operator_policy: queue.operatorPolicy?.name ?? null,
      ...(owner === null ? {} : { owner_pid_details: this.connectionDetails(owner) }),
      single_active_consumer_tag: activeTag,
    };
  }

  /** What there is of a queue without statistics. */
  queueBasics(queue: LocalQueue, vhost: Vhost): Record<string, unknown> {
    const { spec } = queue;
    return {
      arguments: headersToJson(spec.arguments),
      auto_delete: spec.autoDelete,
      durable: spec.durable,
      exclusive: spec.exclusiveTo !== null,
      name: queue.name,
      node: this.node,
      policy: queue.policy?.name ?? null,
      state: 'running',
      type: queue.options.type,
      vhost: vhost.name,
    };
  }

  exchange(exchange: Exchange, vhost: Vhost): Record<string, unknown> {
    const { spec } = exchange;
    return {
      arguments: headersToJson(spec.arguments),
      auto_delete: spec.autoDelete,
      durable: spec.durable,
      internal: spec.internal,
      ...(exchange.publishedIn > 0
        ? { message_stats: this.rates.detail(exchange, exchangeStats(exchange), this.management.node.startedAtMs) }
        : {}),
      ...(exchange.delays || exchange.schedule !== null ? { messages_delayed: exchange.schedule?.count ?? 0 } : {}),
      name: exchange.name,
      policy: exchange.policy?.name ?? null,
      type: spec.type,
      user_who_performed_action: exchange.name === '' || exchange.name.startsWith('amq.') ? 'rmq-internal' : '',
      vhost: vhost.name,
    };
  }

  binding(binding: Binding, vhost: Vhost): Record<string, unknown> {
    return {
      source: binding.source.name,
      vhost: vhost.name,
      destination: binding.destination.name,
      destination_type: binding.destination instanceof Exchange ? 'exchange' : 'queue',
      routing_key: binding.key,
      arguments: headersToJson(binding.arguments),
      properties_key: propertiesKey(binding.key, binding.arguments),
    };
  }

  /** Every queue is bound to the default exchange by its name. */
  defaultBinding(queue: Queue, vhost: Vhost): Record<string, unknown> {
    return {
      source: '',
      vhost: vhost.name,
      destination: queue.name,
      destination_type: 'queue',
      routing_key: queue.name,
      arguments: {},
      properties_key: propertiesKey(queue.name, new Map()),
    };
  }

  // — sums ————————————————————————————————————————————————————————————————————————————————————————————————————————

  vhost(vhost: Vhost): Record<string, unknown> {
    const { metadata } = vhost;
    const clients = [...vhost.clients].map((client) => client.describe());
    return {
      cluster_state: { [this.node]: 'running' },
      default_queue_type: metadata.defaultQueueType ?? 'classic',
      description: metadata.description,
      ...this.rates.detail(vhost, messageCounts([vhost])),
      message_stats: this.rates.detail(vhost, messageStats([vhost]), this.management.node.startedAtMs),
      metadata: { description: metadata.description, tags: metadata.tags },
      name: vhost.name,
      protected_from_deletion: metadata.protectedFromDeletion,
      topic_mapping: vhost.topicMapping,
      ...this.rates.detail(vhost, {
        recv_oct: clients.reduce((sum, { bytesIn }) => sum + bytesIn, 0),
        send_oct: clients.reduce((sum, { bytesOut }) => sum + bytesOut, 0),
      }),
      tags: metadata.tags,
      tracing: false,
    };
  }
}

// Seconds, as its publisher set it.
function timestampOf(queue: LocalQueue): number | null {
  const ms = queue.head?.message.properties.timestampMs;
  return ms === undefined ? null : Math.floor(ms / 1000);
}

/** What an entry that waits takes beside its body, about. */
const entryBytes = 200;

export function messageCounts(vhosts: readonly Vhost[]): Record<string, number> {
  const counts = { messages: 0, messages_ready: 0, messages_unacknowledged: 0 };
  for (const vhost of vhosts) {
    for (const queue of vhost.queues.values()) {
      const { ready, unacked } = queue.counts;
      counts.messages += ready + unacked + queue.deadHeld.count;
      counts.messages_ready += ready;
      counts.messages_unacknowledged += unacked;
    }
  }
  return counts;
}

/** Since the start, deleted queues with the others. */
export function messageStats(vhosts: readonly Vhost[]): Record<string, number> {
  const stats: Record<string, number> = { publish: 0, confirm: 0, return_unroutable: 0, drop_unroutable: 0 };
  const add = (name: string, count: number): void => {
    stats[name] = (stats[name] ?? 0) + count;
  };
  for (const vhost of vhosts) {
    add('publish', vhost.publishedIn);
    add('confirm', vhost.confirmed);
    add('return_unroutable', vhost.returned);
    add('drop_unroutable', vhost.unroutable - vhost.returned);
    for (const counts of [vhost.past, ...vhost.queues.values()]) {
      for (const [name, count] of Object.entries(deliveryStats(counts))) add(name, count);
    }
  }
  return stats;
}

function queueStats(queue: LocalQueue): Record<string, number> {
  return { publish: queue.publishedIn, ...deliveryStats(queue) };
}

function exchangeStats({ publishedIn, publishedOut }: Exchange): Record<string, number> {
  return { publish_in: publishedIn, publish_out: publishedOut };
}

function channelStats(counts: ChannelCounts): Record<string, number> {
  const { published, confirmed, returned, dropped } = counts;
  return {
    publish: published,
    confirm: confirmed,
    return_unroutable: returned,
    drop_unroutable: dropped,
    ...deliveryStats(counts),
  };
}

// `get` and `deliver` are those that are to be acked; `deliver_get` is all of them.
function deliveryStats(counts: Readonly<Record<QueueCount, number>>): Record<string, number> {
  const { delivered, deliveredSettled, fetched, fetchedSettled } = counts;
  return {
    deliver: delivered,
    deliver_no_ack: deliveredSettled,
    get: fetched,
    get_no_ack: fetchedSettled,
    get_empty: counts.fetchedNothing,
    deliver_get: delivered + deliveredSettled + fetched + fetchedSettled,
    redeliver: counts.redelivered,
    ack: counts.acked,
  };
}

function splitAddress(address: string): [host: string, port: number] {
  const colon = address.lastIndexOf(':');
  return [address.slice(0, colon), Number(address.slice(colon + 1))];
}
