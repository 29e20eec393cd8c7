import { anyWord, anyWords, type Pattern, type Token, wordsOf } from '../topic.ts';
import { dropValue, findNode, makeNode, TopicNode } from '../topic-tree.ts';

/**
 * Patterns by their words. Matching walks the key once for each branch that a wildcard opens; the steps below a `#`
 * are remembered, so that a pattern of many `#` costs nodes × words and not words to their number.
 */
export class TopicTrie<T> {
  private readonly root = new TopicNode<Set<T>>([], null);

  add(pattern: Pattern, value: T): void {
    const node = makeNode(this.root, collapse(pattern));
    node.value ??= new Set();
    node.value.add(value);
  }

  remove(pattern: Pattern, value: T): void {
    const node = findNode(this.root, collapse(pattern));
    if (node?.value?.delete(value) && node.value.size === 0) dropValue(node);
  }

  match(routingKey: string, found: T[]): void {
    new Walk(this.root, wordsOf(routingKey), found).run();
  }
}

/** One key on its way through the trie. What is still to be walked is a list, not a stack of calls: a topic may have 65,536 words. */
class Walk<T> {
  private readonly words: readonly string[];
  private readonly found: T[];
  private readonly nodes: TopicNode<Set<T>>[] = [];
  /** Of each of `nodes`: how many words led to it. */
  private readonly places: number[] = [];
  /** The first place from which each `#` that was met has gone on: it went on from all the places behind it, too. */
  private readonly hashes = new Map<TopicNode<Set<T>>, number>();

  constructor(root: TopicNode<Set<T>>, words: readonly string[], found: T[]) {
    this.words = words;
    this.found = found;
    this.walkLater(root, 0);
  }

  run(): void {
    for (let node = this.nodes.pop(); node !== undefined; node = this.nodes.pop()) this.walk(node, this.places.pop()!);
  }

  private walkLater(node: TopicNode<Set<T>> | null | undefined, at: number): void {
    if (node === null || node === undefined) return;
    this.nodes.push(node);
    this.places.push(at);
  }

  // `at` is behind the word that the first token of the node's path has matched.
  private walk(node: TopicNode<Set<T>>, at: number): void {
    for (let i = 1; i < node.path.length; i++, at++) {
      if (at === this.words.length || (node.path[i] !== anyWord && node.path[i] !== this.words[at])) return;
    }
    if (node.anyWords !== null) this.skipWords(node.anyWords, at);
    if (at === this.words.length) this.take(node);
    else {
      this.walkLater(node.anyWord, at + 1);
      this.walkLater(node.words?.get(this.words[at]!), at + 1);
    }
  }

  // Behind a `#`: on after none, one, two … of the remaining words.
  private skipWords(hash: TopicNode<Set<T>>, at: number): void {
    const gone = this.hashes.get(hash);
    if (gone === undefined) this.take(hash);
    else if (gone <= at) return;
    this.hashes.set(hash, at);
    if (hash.words === null) return;
    const end = gone ?? this.words.length;
    for (let next = at; next < end; next++) this.walkLater(hash.words.get(this.words[next]!), next + 1);
  }

  private take(node: TopicNode<Set<T>>): void {
    if (node.value !== null) for (const value of node.value) this.found.push(value);
  }
}

/** `#.#` is `#`, and `#.*` is `*.#`: a `#` is followed by a word or by nothing, so that no `#` hangs below another. */
function collapse(pattern: Pattern): Pattern {
  const tokens: Token[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const token = pattern[i]!;
    if (token !== anyWords) {
      tokens.push(token);
      continue;
    }
    while (pattern[i + 1] === anyWords || pattern[i + 1] === anyWord) {
      i += 1;
      if (pattern[i] === anyWord) tokens.push(anyWord);
    }
    tokens.push(anyWords);
  }
  return tokens;
}
