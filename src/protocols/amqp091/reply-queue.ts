import { startsWith } from '../../lib/bytes.ts';

/** Consumed from, and named as reply-to, it stands for a queue of the broker's [RabbitMQ: direct reply-to]. */
export const replyQueueName = 'amq.rabbitmq.reply-to';
const octets = Buffer.from(replyQueueName, 'latin1');

/** True if the short string at `at` is that name. */
export function wantsReplyQueue(bytes: Buffer, at: number): boolean {
  return bytes[at] === octets.length && startsWith(bytes, at + 1, octets, octets.length);
}
