import type { Message } from '../message.ts';
import type { Consumer } from './queue.ts';

/**
 * Consumers that take only some messages of their queue, by a selector. What nobody selects stays, for whoever comes;
 * it does not hold up what lies behind it.
 */
export function selects(consumer: Consumer, message: Message): boolean {
  const { selector } = consumer;
  return selector === undefined || selector === null || selector(message);
}

/**
 * The consumer that gets the message: of those that select it and are ready one of the highest priority, in turns.
 * @returns its index, or −1
 */
export function pick(consumers: readonly Consumer[], turn: number, message: Message): number {
  const count = consumers.length;
  for (let first = 0; first < count; ) {
    const { priority } = consumers[first]!;
    let end = first + 1;
    while (end < count && consumers[end]!.priority === priority) end += 1;
    const size = end - first;
    for (let i = 0; i < size; i++) {
      const index = first + ((turn + i) % size);
      const consumer = consumers[index]!;
      if (consumer.ready && selects(consumer, message)) return index;
    }
    first = end;
  }
  return -1;
}
