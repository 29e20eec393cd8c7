/** A virtual host's default type of queues in RabbitMQ's JSON, where `undefined` is a word too. */
export function readQueueType(text: string): 'classic' | 'quorum' | null {
  return text === 'classic' || text === 'quorum' ? text : null;
}
