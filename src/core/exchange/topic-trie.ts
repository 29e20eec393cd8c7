import { anyWord, anyWords, type Pattern, type Token, wordsOf } from '../topic.ts';

class Node<T> {
  /** The tokens that lead here from the parent: a `#` alone, or words and `*`s up to where patterns part. */
  path: Pattern;
  parent: Node<T> | null;
  words: Map<string, Node<T>> | null = null;
  anyWord: Node<T> | null = null;
  anyWords: Node<T> | null = null;
  values: Set<T> | null = null;

  constructor(path: Pattern, parent: Node<T> | null) {
    this.path = path;
    this.parent = parent;
  }

  find(token: Token): Node<T> | undefined {
    if (token === anyWord) return this.anyWord ?? undefined;
    if (token === anyWords) return this.anyWords ?? undefined;
    return this.words?.get(token);
  }

  /** In the place of the child that begins with the same token, if there is one. */
  put(child: Node<T>): void {
    child.parent = this;
    const token = child.path[0]!;
    if (token === anyWord) this.anyWord = child;
    else if (token === anyWords) this.anyWords = child;
    else {
      this.words ??= new Map();
      this.words.set(token, child);
    }
  }

  drop(token: Token): void {
    if (token === anyWord) this.anyWord = null;
    else if (token === anyWords) this.anyWords = null;
    else if (this.words?.delete(token) && this.words.size === 0) this.words = null;
  }

  /** Its child where it has no other, and no values: a node that nothing parts at. */
  get onlyChild(): Node<T> | undefined {
    if (this.values !== null || this.anyWords !== null) return undefined;
    if (this.anyWord !== null) return this.words === null ? this.anyWord : undefined;
    return this.words?.size === 1 ? this.words.values().next().value : undefined;
  }

  get empty(): boolean {
    return this.values === null && this.words === null && this.anyWord === null && this.anyWords === null;
  }
}

/**
 * Patterns by their words. Matching walks the key once for each branch that a wildcard opens; the steps below a `#`
 * are remembered, so that a pattern of many `#` costs nodes × words and not words to their number. There are nodes
 * only where patterns part or end, for one of 65,536 levels would take 20 MB of them.
 */
export class TopicTrie<T> {
  private readonly root = new Node<T>([], null);

  add(pattern: Pattern, value: T): void {
    const tokens = collapse(pattern);
    let node = this.root;
    for (let at = 0; at < tokens.length; at += node.path.length) {
      const child = node.find(tokens[at]!);
      if (child === undefined) {
        const made = new Node<T>(pathFrom(tokens, at), node);
        node.put(made);
        node = made;
      } else node = part(child, commonLength(child.path, tokens, at));
    }
    node.values ??= new Set();
    node.values.add(value);
  }

  remove(pattern: Pattern, value: T): void {
    const tokens = collapse(pattern);
    let node: Node<T> | undefined = this.root;
    for (let at = 0; at < tokens.length; at += node.path.length) {
      node = node.find(tokens[at]!);
      if (node === undefined || commonLength(node.path, tokens, at) < node.path.length) return;
    }
    if (!node.values?.delete(value) || node.values.size > 0) return;
    node.values = null;
    while (node.empty && node.parent !== null) {
      node.parent.drop(node.path[0]!);
      node = node.parent;
    }
    join(node);
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

  // `at` is behind the word that the first token of the node's path has matched.
  private walk(node: Node<T>, at: number): void {
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

function pathFrom(tokens: Pattern, at: number): Pattern {
  if (tokens[at] === anyWords) return [anyWords];
  const end = tokens.indexOf(anyWords, at);
  return tokens.slice(at, end === -1 ? tokens.length : end);
}

/** How many tokens of the path are those from `at` on. */
function commonLength(path: Pattern, tokens: Pattern, at: number): number {
  let length = 0;
  while (length < path.length && path[length] === tokens[at + length]) length += 1;
  return length;
}

/** @returns the node that the first `length` tokens of the path lead to: this one, or a new one above it */
function part<T>(node: Node<T>, length: number): Node<T> {
  if (length === node.path.length) return node;
  const above = new Node<T>(node.path.slice(0, length), node.parent);
  node.parent!.put(above);
  node.path = node.path.slice(length);
  above.put(node);
  return above;
}

/** Undoes `part` where nothing parts any more. */
function join<T>(node: Node<T>): void {
  const { parent, onlyChild } = node;
  if (parent === null || onlyChild === undefined || node.path[0] === anyWords) return;
  onlyChild.path = [...node.path, ...onlyChild.path];
  parent.put(onlyChild);
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
