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
    const words = wordsOf(routingKey);
    const visited = new Map<Node<T>, Set<number>>();
    walk(this.root, words, 0, found, visited);
  }
}

function walk<T>(node: Node<T>, words: string[], at: number, found: T[], visited: Map<Node<T>, Set<number>>): void {
  if (node.anyWords !== null) skipWords(node.anyWords, words, at, found, visited);
  if (at === words.length) {
    if (node.values !== null) for (const value of node.values) found.push(value);
    return;
  }
  const word = node.words?.get(words[at]!);
  if (word !== undefined) walk(word, words, at + 1, found, visited);
  if (node.anyWord !== null) walk(node.anyWord, words, at + 1, found, visited);
}

// Below a `#`: continue after none, one, two … of the remaining words, each continuation at most once.
function skipWords<T>(
  hash: Node<T>,
  words: string[],
  at: number,
  found: T[],
  visited: Map<Node<T>, Set<number>>,
): void {
  let seen = visited.get(hash);
  if (seen === undefined) {
    seen = new Set();
    visited.set(hash, seen);
  }
  if (hash.values !== null && seen.size === 0) for (const value of hash.values) found.push(value);
  for (let next = at; next <= words.length; next++) {
    if (seen.has(next)) return; // and so were all the places behind it
    seen.add(next);
    const rest = hash.anyWords !== null || hash.anyWord !== null || hash.words !== null;
    if (rest) walkBehind(hash, words, next, found, visited);
  }
}

// The node of a `#` itself matched what remains already: only its children are walked.
function walkBehind<T>(
  hash: Node<T>,
  words: string[],
  at: number,
  found: T[],
  visited: Map<Node<T>, Set<number>>,
): void {
  if (at === words.length) return;
  const word = hash.words?.get(words[at]!);
  if (word !== undefined) walk(word, words, at + 1, found, visited);
  if (hash.anyWord !== null) walk(hash.anyWord, words, at + 1, found, visited);
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
