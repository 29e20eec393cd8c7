import type { Message } from '../message.ts';
import type { Binding } from './binding.ts';
import type { Matcher } from './exchange.ts';

/** The routing key equals the binding key. */
export class DirectMatcher implements Matcher {
  readonly readsHeaders = false;
  private readonly byKey = new Map<string, Set<Binding>>();

  add(binding: Binding): void {
    const bindings = this.byKey.get(binding.key);
    if (bindings === undefined) this.byKey.set(binding.key, new Set([binding]));
    else bindings.add(binding);
  }

  remove(binding: Binding): void {
    const bindings = this.byKey.get(binding.key);
    if (bindings === undefined) return;
    bindings.delete(binding);
    if (bindings.size === 0) this.byKey.delete(binding.key);
  }

  match(routingKey: string, _message: Message | null, found: Binding[]): void {
    const bindings = this.byKey.get(routingKey);
    if (bindings !== undefined) for (const binding of bindings) found.push(binding);
  }

  explain({ key }: Binding, matched: boolean): string {
    return matched ? `the routing key is '${key}'` : `the routing key is not '${key}'`;
  }
}
