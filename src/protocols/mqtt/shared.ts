import type { Binding } from '../../core/exchange/binding.ts';
import type { Exchange } from '../../core/exchange/exchange.ts';
import { noHeaders } from '../../core/properties.ts';
import type { LocalQueue } from '../../core/queue/local-queue.ts';
import { showPattern } from '../../core/topic.ts';
import type { Vhost } from '../../core/vhost.ts';
import { spellingOf } from './topic.ts';

const queuePrefix = 'mqtt-shared.';

/** A dot in a group is coded: behind the first the filter begins. */
export function sharedQueueName(group: string, filter: string): string {
  return `${queuePrefix}${group.replaceAll('%', '%25').replaceAll('.', '%2E')}.${filter}`;
}

interface Share {
  readonly queue: LocalQueue;
  readonly binding: Binding;
  readonly members: Set<object>;
}

/**
 * The shared subscriptions of a virtual host [MQTT 5.0 §4.8.2]: each is a queue `mqtt-shared.<group>.<filter>`, from
 * which its members take turns, and which consumers of other protocols may join. It lives while a session is a member,
 * connected or not, and is durable from the first member on that outlives its connection.
 */
export class SharedGroups {
  private readonly vhost: Vhost;
  private readonly host: { readonly exchange: Exchange };
  private readonly keepsQos0: boolean;
  private readonly shares = new Map<string, Share>();

  /** @param host says where topics are published */
  constructor(vhost: Vhost, host: { readonly exchange: Exchange }, keepsQos0: boolean) {
    this.vhost = vhost;
    this.host = host;
    this.keepsQos0 = keepsQos0;
  }

  join(member: { readonly durable: boolean }, group: string, filter: string): LocalQueue {
    const name = sharedQueueName(group, filter);
    let share = this.shares.get(name);
    if (share === undefined || share.queue.deleted) {
      share = this.open(name, filter);
      this.shares.set(name, share);
    }
    share.members.add(member);
    if (member.durable) this.vhost.makeDurable(share.queue);
    return share.queue;
  }

  leave(member: object, group: string, filter: string): void {
    const name = sharedQueueName(group, filter);
    const share = this.shares.get(name);
    if (share === undefined || !share.members.delete(member) || share.members.size > 0) return;
    this.shares.delete(name);
    this.vhost.removeQueue(share.queue);
  }

  /** After a restart: queues of groups whose members did not outlive it. */
  removeOrphans(): void {
    for (const queue of [...this.vhost.queues.values()]) {
      if (queue.name.startsWith(queuePrefix) && !this.shares.has(queue.name)) this.vhost.removeQueue(queue);
    }
  }

  private open(name: string, filter: string): Share {
    const queue =
      this.vhost.queues.get(name) ??
      this.vhost.createQueue({ name, durable: false, autoDelete: false, exclusiveTo: null, arguments: noHeaders });
    const pattern = spellingOf(this.vhost.topicMapping).toPattern(filter);
    const members = new Set<object>();
    // Each share is a subscriber of its own: a session that is a member and subscribes itself gets both copies.
    const binding = this.vhost.addBinding(this.host.exchange, queue, showPattern(pattern), pattern, noHeaders, {
      subscriber: members,
      qos: 2,
      subscriptionId: 0,
      retainAsPublished: false,
      noLocal: false,
      keepsQos0: this.keepsQos0,
    });
    return { queue, binding, members };
  }
}
