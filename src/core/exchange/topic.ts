import type { Message } from '../message.ts';
import { anyWord, anyWords } from '../topic.ts';
import type { Binding } from './binding.ts';
import type { Matcher } from './exchange.ts';
import { TopicTrie } from './topic-trie.ts';

/** The words of the routing key meet the binding's pattern. */
export class TopicMatcher implements Matcher {
  readonly readsHeaders = false;
  private readonly trie = new TopicTrie<Binding>();

  add(binding: Binding): void {
    this.trie.add(binding.pattern, binding);
  }

  remove(binding: Binding): void {
    this.trie.remove(binding.pattern, binding);
  }

  match(routingKey: string, _message: Message | null, found: Binding[]): void {
    const first = found.length;
    this.trie.match(routingKey, found);
    if (routingKey.charCodeAt(0) === 0x24) dropHidden(found, first);
  }

  explain({ key }: Binding, matched: boolean): string {
    return `the routing key ${matched ? 'fits' : 'does not fit'} the pattern '${key}'`;
  }
}

// [MQTT-4.7.2-1] a filter that begins with a wildcard does not match a topic that begins with `$`; AMQP has no such rule
function dropHidden(found: Binding[], first: number): void {
  let kept = first;
  for (let i = first; i < found.length; i++) {
    const binding = found[i]!;
    const token = binding.pattern[0];
    if (binding.subscription === null || (token !== anyWord && token !== anyWords)) found[kept++] = binding;
  }
  found.length = kept;
}
