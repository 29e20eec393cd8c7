import type { Message } from '../message.ts';
import type { Binding } from './binding.ts';
import type { Matcher } from './exchange.ts';

/** Every binding matches, whatever its key. */
export class FanoutMatcher implements Matcher {
  readonly readsHeaders = false;
  private readonly bindings = new Set<Binding>();

  add(binding: Binding): void {
    this.bindings.add(binding);
  }

  remove(binding: Binding): void {
    this.bindings.delete(binding);
  }

  match(_routingKey: string, _message: Message | null, found: Binding[]): void {
    for (const binding of this.bindings) found.push(binding);
  }

  explain(): string {
    return 'a fanout exchange takes every binding';
  }
}
