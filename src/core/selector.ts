import { BrokerError } from './errors.ts';
import type { Message } from './message.ts';
import { isTyped, type Properties, type Value } from './properties.ts';

/**
 * Message selectors: the subset of SQL-92 that JMS defines [JMS 2.0 §3.8.1], compiled to a predicate.
 *
 *     or         = and *( OR and )
 *     and        = not *( AND not )
 *     not        = NOT not / comparison
 *     comparison = sum [ op sum / IS [NOT] NULL / [NOT] BETWEEN sum AND sum
 *                      / [NOT] IN ( string *( , string ) ) / [NOT] LIKE string [ ESCAPE string ] ]
 *     sum        = term *( ( + / - ) term )         term = unary *( ( * / "/" ) unary )
 *     unary      = ( + / - ) unary / primary        primary = literal / identifier / ( or )
 *
 * Logic has three values: what is asked of an absent property is unknown, and only what is true selects. Whole
 * numbers are bigints and others doubles, so that 7 / 2 is 3 and 7.0 / 2 is 3.5, as in Java.
 */
export type Selector = (message: Message) => boolean;

export interface SelectorOptions {
  /** Text is compared with numbers and booleans by what it reads as: for protocols whose headers are all text. */
  readonly textIsTyped?: boolean;
}

/** null = unknown; an object is a value that no comparison is defined for. */
type Operand = string | bigint | number | boolean | null | object;
type Expression = (message: Message) => Operand;

const depthMax = 100;

/** @throws BrokerError invalid-field, saying what was expected where */
export function compileSelector(text: string, options: SelectorOptions = {}): Selector {
  const expression = new Parser(text, options.textIsTyped === true).parse();
  return (message) => expression(message) === true;
}

// — words ———————————————————————————————————————————————————————————————————————————————————————————————————————————

type Token =
  | { readonly kind: 'word' | 'name' | 'text' | 'symbol'; readonly text: string; readonly at: number }
  | { readonly kind: 'number'; readonly text: string; readonly value: bigint | number; readonly at: number }
  | { readonly kind: 'end'; readonly text: ''; readonly at: number };

const reserved: ReadonlySet<string> = new Set([
  ...['NULL', 'TRUE', 'FALSE', 'NOT', 'AND', 'OR', 'BETWEEN', 'LIKE', 'IN', 'IS', 'ESCAPE'],
]);

const tokenForms: readonly (readonly [form: RegExp, make: (text: string, at: number) => Token])[] = [
  [/0[xX][0-9a-fA-F]+[lL]?/y, (text, at) => ({ kind: 'number', text, value: BigInt(text.replace(/[lL]$/, '')), at })],
  [
    /(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?[fFdD]?|\d+(?:[eE][+-]?\d+[fFdD]?|[fFdD])/y,
    (text, at) => ({ kind: 'number', text, value: Number(text.replace(/[fFdD]$/, '')), at }),
  ],
  [/\d+[lL]?/y, (text, at) => ({ kind: 'number', text, value: BigInt(text.replace(/[lL]$/, '')), at })],
  [
    /[\p{L}\p{Nl}_$][\p{L}\p{Nl}\p{Nd}_$.]*/uy,
    (text, at) => (reserved.has(text.toUpperCase()) ? { kind: 'word', text: text.toUpperCase(), at } : name(text, at)),
  ],
  [/"(?:[^"]|"")+"/y, (text, at) => name(text.slice(1, -1).replaceAll('""', '"'), at)],
  [/'(?:[^']|'')*'/y, (text, at) => ({ kind: 'text', text: text.slice(1, -1).replaceAll("''", "'"), at })],
  [/<>|<=|>=|[=<>+\-*/(),]/y, (text, at) => ({ kind: 'symbol', text, at })],
];

function name(text: string, at: number): Token {
  return { kind: 'name', text, at };
}

function readTokens(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && /\s/.test(text[at]!)) at += 1;
    if (at === text.length) break;
    const token = readToken(text, at);
    if (token === undefined) throw invalid(text, `'${text[at]}' at ${at + 1} is not understood`);
    tokens.push(token[0]);
    at += token[1];
  }
  tokens.push({ kind: 'end', text: '', at });
  return tokens;
}

function readToken(text: string, at: number): [token: Token, length: number] | undefined {
  for (const [form, make] of tokenForms) {
    form.lastIndex = at;
    const found = form.exec(text)?.[0];
    if (found !== undefined) return [make(found, at), found.length];
  }
  return undefined;
}

function invalid(text: string, why: string): BrokerError {
  return new BrokerError('invalid-field', `selector "${text}": ${why}`);
}

// — grammar —————————————————————————————————————————————————————————————————————————————————————————————————————————

class Parser {
  private readonly text: string;
  private readonly tokens: readonly Token[];
  private readonly typed: boolean;
  private at = 0;
  private depth = 0;

  constructor(text: string, typed: boolean) {
    this.text = text;
    this.typed = typed;
    this.tokens = readTokens(text);
  }

  parse(): Expression {
    const expression = this.or();
    if (this.token.kind !== 'end') throw this.unexpected('the end');
    return expression;
  }

  private get token(): Token {
    return this.tokens[this.at]!;
  }

  private unexpected(wanted: string): BrokerError {
    const { kind, text, at } = this.token;
    return invalid(this.text, `${wanted} is expected at ${at + 1}, not ${kind === 'end' ? 'the end' : `'${text}'`}`);
  }

  private take(kind: 'word' | 'symbol', ...texts: string[]): string | undefined {
    const { token } = this;
    if (token.kind !== kind || !texts.includes(token.text)) return undefined;
    this.at += 1;
    return token.text;
  }

  private need(kind: 'word' | 'symbol', text: string): void {
    if (this.take(kind, text) === undefined) throw this.unexpected(text);
  }

  private needText(): string {
    const { token } = this;
    if (token.kind !== 'text') throw this.unexpected('a string');
    this.at += 1;
    return token.text;
  }

  private or(): Expression {
    let left = this.and();
    while (this.take('word', 'OR')) left = or(left, this.and());
    return left;
  }

  private and(): Expression {
    let left = this.not();
    while (this.take('word', 'AND')) left = and(left, this.not());
    return left;
  }

  private not(): Expression {
    if (!this.take('word', 'NOT')) return this.comparison();
    return this.nested(() => not(this.not()));
  }

  private comparison(): Expression {
    const left = this.sum();
    const operator = this.take('symbol', '=', '<>', '<', '<=', '>', '>=');
    if (operator !== undefined) return this.compare(operator, left, this.sum());
    if (this.take('word', 'IS')) {
      const negated = this.take('word', 'NOT') !== undefined;
      this.need('word', 'NULL');
      return (message) => (left(message) === null) !== negated;
    }
    const negated = this.take('word', 'NOT') !== undefined;
    const predicate = this.predicate(left);
    if (predicate === undefined) {
      if (negated) throw this.unexpected('BETWEEN, IN or LIKE');
      return left;
    }
    return negated ? not(predicate) : predicate;
  }

  private predicate(left: Expression): Expression | undefined {
    if (this.take('word', 'BETWEEN')) {
      const low = this.sum();
      this.need('word', 'AND');
      return and(this.compare('>=', left, low), this.compare('<=', left, this.sum()));
    }
    if (this.take('word', 'IN')) {
      this.need('symbol', '(');
      const texts = new Set([this.needText()]);
      while (this.take('symbol', ',')) texts.add(this.needText());
      this.need('symbol', ')');
      return (message) => {
        const value = left(message);
        return typeof value === 'string' ? texts.has(value) : null;
      };
    }
    if (this.take('word', 'LIKE')) {
      const pattern = this.needText();
      const escaping = this.take('word', 'ESCAPE') ? this.needText() : '';
      if ([...escaping].length > 1) throw invalid(this.text, `the escape '${escaping}' is more than one character`);
      const steps = readPattern(pattern, escaping);
      return (message) => {
        const value = left(message);
        return typeof value === 'string' ? isLike(value, steps) : null;
      };
    }
    return undefined;
  }

  private compare(operator: string, left: Expression, right: Expression): Expression {
    const { typed } = this;
    return (message) => compare(operator, left(message), right(message), typed);
  }

  private sum(): Expression {
    let left = this.term();
    for (;;) {
      const operator = this.take('symbol', '+', '-');
      if (operator === undefined) return left;
      left = this.calculate(operator, left, this.term());
    }
  }

  private term(): Expression {
    let left = this.unary();
    for (;;) {
      const operator = this.take('symbol', '*', '/');
      if (operator === undefined) return left;
      left = this.calculate(operator, left, this.unary());
    }
  }

  private calculate(operator: string, left: Expression, right: Expression): Expression {
    const { typed } = this;
    return (message) => calculate(operator, toNumber(left(message), typed), toNumber(right(message), typed));
  }

  private unary(): Expression {
    const sign = this.take('symbol', '+', '-');
    if (sign === undefined) return this.primary();
    return this.nested(() => {
      const operand = this.unary();
      const { typed } = this;
      return (message) => {
        const value = toNumber(operand(message), typed);
        return value === null || sign === '+' ? value : -value;
      };
    });
  }

  private primary(): Expression {
    const { token } = this;
    if (token.kind === 'symbol' && token.text === '(') {
      this.at += 1;
      return this.nested(() => {
        const inner = this.or();
        this.need('symbol', ')');
        return inner;
      });
    }
    if (token.kind === 'number' || token.kind === 'text') {
      this.at += 1;
      const value = token.kind === 'number' ? token.value : token.text;
      return () => value;
    }
    if (token.kind === 'name') {
      this.at += 1;
      return propertyOf(token.text);
    }
    const truth = this.take('word', 'TRUE', 'FALSE');
    if (truth === undefined) throw this.unexpected('a value');
    return () => truth === 'TRUE';
  }

  private nested(read: () => Expression): Expression {
    this.depth += 1;
    if (this.depth > depthMax) throw invalid(this.text, `nested more than ${depthMax} deep`);
    const expression = read();
    this.depth -= 1;
    return expression;
  }
}

// — logic ———————————————————————————————————————————————————————————————————————————————————————————————————————————

function and(left: Expression, right: Expression): Expression {
  return (message) => {
    const a = toBoolean(left(message));
    if (a === false) return false;
    const b = toBoolean(right(message));
    return b === false ? false : a === null || b === null ? null : true;
  };
}

function or(left: Expression, right: Expression): Expression {
  return (message) => {
    const a = toBoolean(left(message));
    if (a === true) return true;
    const b = toBoolean(right(message));
    return b === true ? true : a === null || b === null ? null : false;
  };
}

function not(operand: Expression): Expression {
  return (message) => {
    const value = toBoolean(operand(message));
    return value === null ? null : !value;
  };
}

function toBoolean(value: Operand): boolean | null {
  return typeof value === 'boolean' ? value : null;
}

// — comparison, arithmetic ——————————————————————————————————————————————————————————————————————————————————————————

function compare(operator: string, left: Operand, right: Operand, typed: boolean): boolean | null {
  if (left === null || right === null) return null;
  let a: Operand = left;
  let b: Operand = right;
  if (typed && typeof a !== typeof b) {
    if (typeof a === 'string') a = readAs(a, b);
    else if (typeof b === 'string') b = readAs(b, a);
    if (a === null || b === null) return operator === '<>';
  }
  if (isNumber(a) && isNumber(b)) return compareNumbers(operator, a, b);
  if (typeof a !== typeof b || typeof a === 'object') return operator === '<>' ? true : operator === '=' ? false : null;
  // text and truth know no order [JMS 2.0 §3.8.1.2]; text that is all there is may be a number nevertheless
  if (operator === '=') return a === b;
  if (operator === '<>') return a !== b;
  if (!typed || typeof a !== 'string') return null;
  const [x, y] = [toNumber(a, true), toNumber(b, true)];
  return x === null || y === null ? null : compareNumbers(operator, x, y);
}

function readAs(text: string, other: Operand): Operand {
  if (typeof other !== 'boolean') return isNumber(other) ? toNumber(text, true) : text;
  const word = text.toLowerCase();
  return word === 'true' ? true : word === 'false' ? false : null;
}

function compareNumbers(operator: string, a: bigint | number, b: bigint | number): boolean {
  switch (operator) {
    case '=':
      // biome-ignore lint/suspicious/noDoubleEquals: 5n and 5.0 are the same number
      return a == b;
    case '<>':
      // biome-ignore lint/suspicious/noDoubleEquals: 5n and 5.0 are the same number
      return a != b;
    case '<':
      return a < b;
    case '<=':
      return a <= b;
    case '>':
      return a > b;
    default:
      return a >= b;
  }
}

function calculate(operator: string, a: bigint | number | null, b: bigint | number | null): Operand {
  if (a === null || b === null) return null;
  if (typeof a === 'bigint' && typeof b === 'bigint') {
    switch (operator) {
      case '+':
        return a + b;
      case '-':
        return a - b;
      case '*':
        return a * b;
      default:
        return b === 0n ? null : a / b;
    }
  }
  const [x, y] = [Number(a), Number(b)];
  switch (operator) {
    case '+':
      return x + y;
    case '-':
      return x - y;
    case '*':
      return x * y;
    default:
      return x / y;
  }
}

function isNumber(value: Operand): value is bigint | number {
  return typeof value === 'bigint' || typeof value === 'number';
}

function toNumber(value: Operand, typed: boolean): bigint | number | null {
  if (isNumber(value)) return value;
  if (!typed || typeof value !== 'string') return null;
  const text = value.trim();
  if (/^[+-]?\d{1,40}$/.test(text)) return BigInt(text.replace('+', ''));
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : null;
}

// — LIKE ————————————————————————————————————————————————————————————————————————————————————————————————————————————

const anyOne = 1;
const anyMany = 2;
type Step = string | typeof anyOne | typeof anyMany;

function readPattern(pattern: string, escaping: string): Step[] {
  const steps: Step[] = [];
  let isEscaped = false;
  for (const character of pattern) {
    if (isEscaped) {
      steps.push(character);
      isEscaped = false;
    } else if (escaping !== '' && character === escaping) isEscaped = true;
    else steps.push(character === '%' ? anyMany : character === '_' ? anyOne : character);
  }
  return steps;
}

// Only the last `%` is ever tried again, so that no pattern takes more than its length times the text's.
function isLike(text: string, steps: readonly Step[]): boolean {
  const characters = [...text];
  let at = 0;
  let step = 0;
  let many = -1;
  let manyAt = 0;
  while (at < characters.length) {
    const wanted = steps[step];
    if (wanted === anyMany) {
      many = step;
      manyAt = at;
      step += 1;
    } else if (wanted === anyOne || wanted === characters[at]) {
      at += 1;
      step += 1;
    } else if (many >= 0) {
      manyAt += 1;
      at = manyAt;
      step = many + 1;
    } else return false;
  }
  while (steps[step] === anyMany) step += 1;
  return step === steps.length;
}

// — properties ——————————————————————————————————————————————————————————————————————————————————————————————————————

/** What JMS calls its header fields [JMS 2.0 §3.4], and the plain names of those that all protocols share. */
const fields: Readonly<Record<string, (properties: Properties, message: Message) => Value | number | undefined>> = {
  JMSDeliveryMode: (_, message) => (message.durable ? 'PERSISTENT' : 'NON_PERSISTENT'),
  JMSPriority: (_, message) => (message.priority < 0 ? 4 : message.priority),
  JMSMessageID: ({ messageId }) => messageId,
  JMSTimestamp: ({ timestampMs }) => timestampMs,
  JMSCorrelationID: ({ correlationId }) => correlationId,
  JMSType: ({ type }) => type,
  JMSReplyTo: ({ replyTo }) => replyTo?.text,
  JMSExpiration: (_, message) => message.expiresAtMs,
  JMSXGroupID: ({ groupId }) => groupId,
  JMSXGroupSeq: ({ groupSequence }) => groupSequence,
  JMSXUserID: ({ userId }) => userId,
  priority: (_, message) => (message.priority < 0 ? undefined : message.priority),
  persistent: (_, message) => message.durable,
  timestamp: ({ timestampMs }) => timestampMs,
  type: ({ type }) => type,
  subject: ({ subject }) => subject,
  'content-type': ({ contentType }) => contentType,
  'content-encoding': ({ contentEncoding }) => contentEncoding,
  'correlation-id': ({ correlationId }) => correlationId,
  'message-id': ({ messageId }) => messageId,
  'reply-to': ({ replyTo }) => replyTo?.text,
  'user-id': ({ userId }) => userId,
  'app-id': ({ appId }) => appId,
  'group-id': ({ groupId }) => groupId,
};

function propertyOf(identifier: string): Expression {
  const field = Object.hasOwn(fields, identifier) ? fields[identifier] : undefined;
  return (message) => {
    const { properties } = message;
    const header = properties.headers.get(identifier);
    if (header !== undefined) return toOperand(header);
    const value = field?.(properties, message);
    return typeof value === 'number' ? BigInt(value) : value === undefined ? null : toOperand(value);
  };
}

function toOperand(value: Value): Operand {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (!isTyped(value)) return value;
  switch (value.type) {
    case 'float':
    case 'double':
      return value.value;
    case 'decimal':
      return value.value / 10 ** value.scale;
    case 'char':
    case 'symbol':
      return value.value;
    case 'uuid':
    case 'decimal32':
    case 'decimal64':
    case 'decimal128':
      return value.value;
    default:
      return BigInt(value.value);
  }
}
