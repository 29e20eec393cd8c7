import { anyWord, anyWords, type Pattern, type Token, wordsOf } from '../topic.ts';

class Node<T> {
  readonly token: Token;
  readonly parent: Node<T> | null;
  words: Map<string, Node<T>> | null = null;
  anyWord: Node<T> | null = null;
  anyWords: Node<T> | null = null;
  values: Set<T> | null = null;

  constructor(token: Token, parent: Node<T> | null) {
    this.token = token;
    this.parent = parent;
  }

  find(token: Token): Node<T> | undefined {
    if (token === anyWord) return this.anyWord ?? undefined;
    if (token === anyWords) return this.anyWords ?? undefined;
    return this.words?.get(token);
  }

  make(token: Token): Node<T> {
    const node = new Node(token, this);
    if (token === anyWord) this.anyWord = node;
    else if (token === anyWords) this.anyWords = node;
    else {
      this.words ??= new Map();
      this.words.set(token, node);
    }
    return node;
  }

  drop(token: Token): void {
    if (token === anyWord) this.anyWord = null;
    else if (token === anyWords) this.anyWords = null;
    else if (this.words?.delete(token) && this.words.size === 0) this.words = null;
  }

  get empty(): boolean {
    return this.values === null && this.words === null && this.anyWord === null && this.anyWords === null;
  }
}

/**
 * Patterns by their words. Matching walks the key once for each branch that a wildcard opens; the steps below a `#`
 * are remembered, so that a pattern of many `#` costs nodes × words and not words to their number.
 */
export class TopicTrie<T> {
  private readonly root = new Node<T>('', null);

  add(pattern: Pattern, value: T): void {
    let node = this.root;
    for (const token of collapse(pattern)) node = node.find(token) ?? node.make(token);
    node.values ??= new Set();
    node.values.add(value);
  }

  remove(pattern: Pattern, value: T): void {
    let node: Node<T> | undefined = this.root;
    for (const token of collapse(pattern)) {
      node = node.find(token);
      if (node === undefined) return;
    }
    if (!node.values?.delete(value) || node.values.size > 0) return;
    node.values = null;
    for (let empty = node; empty.empty && empty.parent !== null; empty = empty.parent) empty.parent.drop(empty.token);
  }

  match(routingKey: string, found: T[]): void {
    new Walk(this.root, wordsOf(routingKey), found).run();
  }
}

/** One key on its way through the trie. What is still to be walked is a list, not a stack of calls: a topic may have 65,536 words. */
class Walk<T> {
  private readonly words: readonly string[];
  private readonly found: T[];
  private readonly nodes: Node<T>[] = [];
  /** Of each of `nodes`: how many words led to it. */
  private readonly places: number[] = [];
  /** The first place from which each `#` that was met has gone on: it went on from all the places behind it, too. */
  private readonly hashes = new Map<Node<T>, number>();

  constructor(root: Node<T>, words: readonly string[], found: T[]) {
    this.words = words;
    this.found = found;
    this.walkLater(root, 0);
  }

  run(): void {
    for (let node = this.nodes.pop(); node !== undefined; node = this.nodes.pop()) this.walk(node, this.places.pop()!);
  }

  private walkLater(node: Node<T> | null | undefined, at: number): void {
    if (node === null || node === undefined) return;
    this.nodes.push(node);
    this.places.push(at);
  }

  private walk(node: Node<T>, at: number): void {
    if (node.anyWords !== null) this.skipWords(node.anyWords, at);
    if (at === this.words.length) this.take(node);
    else {
      this.walkLater(node.anyWord, at + 1);
      this.walkLater(node.words?.get(this.words[at]!), at + 1);
    }
  }

  // Behind a `#`: on after none, one, two … of the remaining words.
  private skipWords(hash: Node<T>, at: number): void {
    const gone = this.hashes.get(hash);
    if (gone === undefined) this.take(hash);
    else if (gone <= at) return;
    this.hashes.set(hash, at);
    if (hash.words === null) return;
    const end = gone ?? this.words.length;
    for (let next = at; next < end; next++) this.walkLater(hash.words.get(this.words[next]!), next + 1);
  }

  private take(node: Node<T>): void {
    if (node.values !== null) for (const value of node.values) this.found.push(value);
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
