import { has, type Levels, type PriorityOrder } from './priority-order.ts';

const normal = 0;
const high = 1;
/** Of every three messages the third is of normal priority, unless a high one was published before it. */
const turns = 3;

/** The two levels of a quorum queue: two high messages for each normal one [RabbitMQ: quorum queues, priorities]. */
export class PriorityTurns implements PriorityOrder {
  private turn = 0;

  filled(): void {}

  next(levels: Levels): number {
    if (!has(levels, high)) return has(levels, normal) ? normal : -1;
    if (this.turn < turns - 1 || !has(levels, normal)) return high;
    const first = levels[high]!.peek();
    const other = levels[normal]!.peek();
    const isOlder = first !== undefined && other !== undefined && first.message.sequence < other.message.sequence;
    return isOlder ? high : normal;
  }

  taken(): void {
    this.turn = (this.turn + 1) % turns;
  }
}
