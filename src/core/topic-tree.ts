import { anyWord, anyWords, type Pattern, type Token } from './topic.ts';

/**
 * A tree over the words of topics or of patterns, with a node only where two part or one ends: a node a word would be 20 MB for a
 * topic of 65,536 levels. A `#` is a node of its own. A node that has a value stays the same object while it has it.
 */
export class TopicNode<T> {
  /** The tokens that lead here from the parent: a `#` alone, or words and `*`s up to where patterns part. */
  path: Pattern;
  parent: TopicNode<T> | null;
  words: Map<string, TopicNode<T>> | null = null;
  anyWord: TopicNode<T> | null = null;
  anyWords: TopicNode<T> | null = null;
  value: T | null = null;

  constructor(path: Pattern, parent: TopicNode<T> | null) {
    this.path = path;
    this.parent = parent;
  }

  find(token: Token): TopicNode<T> | undefined {
    if (token === anyWord) return this.anyWord ?? undefined;
    if (token === anyWords) return this.anyWords ?? undefined;
    return this.words?.get(token);
  }

  /** In the place of the child that begins with the same token, if there is one. */
  put(child: TopicNode<T>): void {
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

  /** Its child where it has no other, and no value: a node that nothing parts at. */
  get onlyChild(): TopicNode<T> | undefined {
    if (this.value !== null || this.anyWords !== null) return undefined;
    if (this.anyWord !== null) return this.words === null ? this.anyWord : undefined;
    return this.words?.size === 1 ? this.words.values().next().value : undefined;
  }

  get empty(): boolean {
    return this.value === null && this.words === null && this.anyWord === null && this.anyWords === null;
  }
}

/** The node that all tokens lead to, made where there is none. */
export function makeNode<T>(root: TopicNode<T>, tokens: Pattern): TopicNode<T> {
  let node = root;
  for (let at = 0; at < tokens.length; at += node.path.length) {
    const child = node.find(tokens[at]!);
    if (child === undefined) {
      const made = new TopicNode<T>(pathFrom(tokens, at), node);
      node.put(made);
      node = made;
    } else node = part(child, commonLength(child.path, tokens, at));
  }
  return node;
}

export function findNode<T>(root: TopicNode<T>, tokens: Pattern): TopicNode<T> | undefined {
  let node: TopicNode<T> | undefined = root;
  for (let at = 0; at < tokens.length; at += node.path.length) {
    node = node.find(tokens[at]!);
    if (node === undefined || commonLength(node.path, tokens, at) < node.path.length) return undefined;
  }
  return node;
}

/** Takes the value from a node, and the nodes away that were there for it alone. */
export function dropValue<T>(node: TopicNode<T>): void {
  node.value = null;
  let last = node;
  while (last.empty && last.parent !== null) {
    last.parent.drop(last.path[0]!);
    last = last.parent;
  }
  join(last);
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
function part<T>(node: TopicNode<T>, length: number): TopicNode<T> {
  if (length === node.path.length) return node;
  const above = new TopicNode<T>(node.path.slice(0, length), node.parent);
  node.parent!.put(above);
  node.path = node.path.slice(length);
  above.put(node);
  return above;
}

/** Undoes `part` where nothing parts any more. */
function join<T>(node: TopicNode<T>): void {
  const { parent, onlyChild } = node;
  if (parent === null || onlyChild === undefined || node.path[0] === anyWords) return;
  onlyChild.path = [...node.path, ...onlyChild.path];
  parent.put(onlyChild);
}
