/** Topic aliases of one connection, both ways [MQTT 5.0 §3.3.2.3.4]; neither outlives it. */
export class TopicAliases {
  /** Aliases that the peer takes from us. */
  readonly outgoingMax: number;
  private readonly incoming: (Buffer | undefined)[];
  private outgoing: Map<string, number> | null = null;
  /** By alias − 1: the peer was told the topic. */
  private readonly isTold: boolean[] = [];

  constructor(incomingMax: number, outgoingMax: number) {
    this.incoming = new Array<Buffer | undefined>(incomingMax);
    this.outgoingMax = outgoingMax;
  }

  /** @param topic with its length before it; the caller's no longer */
  learn(alias: number, topic: Buffer): void {
    this.incoming[alias - 1] = topic;
  }

  find(alias: number): Buffer | undefined {
    return this.incoming[alias - 1];
  }

  /** The first topics get one each, in their order; 0 = none is left. */
  aliasFor(exchange: string, routingKey: string): number {
    this.outgoing ??= new Map();
    if (exchange === '') return 0; // queues have names, which are another space
    const alias = this.outgoing.get(routingKey);
    if (alias !== undefined) return alias;
    if (this.outgoing.size >= this.outgoingMax) return 0;
    this.outgoing.set(routingKey, this.outgoing.size + 1);
    return this.outgoing.size;
  }

  isKnown(alias: number): boolean {
    return alias !== 0 && this.isTold[alias - 1] === true;
  }

  /** A packet with the alias and its topic has left. */
  told(alias: number): void {
    this.isTold[alias - 1] = true;
  }
}
