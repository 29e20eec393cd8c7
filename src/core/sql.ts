import { BrokerError } from './errors.ts';
import type { Message } from './message.ts';

/**
 * Conditions on messages in the words of SQL-92, compiled to a predicate. What dialects differ in, they say themselves.
 *
 *     or         = and *( OR and )
 *     and        = not *( AND not )
 *     not        = NOT not / comparison
 *     comparison = sum [ op sum / IS [NOT] NULL / [NOT] BETWEEN sum AND sum
 *                      / [NOT] IN ( item *( , item ) ) / [NOT] LIKE string [ ESCAPE string ] ]
 *     sum        = term *( ( + / - ) term )         term = unary *( ( * / "/" ) unary )
 *     unary      = ( + / - ) unary / primary        primary = literal / identifier / ( or )
 *
 * Logic has three values: what is asked of an absent property is unknown, and only what is true selects.
 */
export type Predicate = (message: Message) => boolean;

/** null = unknown; an object is a value that few comparisons are defined for. */
export type Operand = string | bigint | number | boolean | null | object;
export type Expression = (message: Message) => Operand;

export interface Dialect {
  /** What an error calls the text. */
  readonly name: string;
  readonly tokenForms: readonly TokenForm[];
  /** Words, names, literals and symbols at most. */
  readonly tokensMax: number;
  readonly comparisons: readonly string[];
  /** Operators that bind like `*`. */
  readonly factors: readonly string[];
  readonly hasBetween: boolean;
  /** IN lists strings alone, and asks strings alone. */
  readonly listsStrings: boolean;
  compare(operator: string, left: Operand, right: Operand): boolean | null;
  toNumber(value: Operand): bigint | number | null;
  calculate(operator: string, left: bigint | number | null, right: bigint | number | null): Operand;
  /** What a name stands for. @returns null when it can stand for nothing */
  findOperand(name: string): Expression | null;
}

const depthMax = 100;

/** @throws BrokerError invalid-field, saying what was expected where */
export function compile(text: string, dialect: Dialect): Predicate {
  const expression = new Parser(text, dialect).parse();
  return (message) => expression(message) === true;
}

// — words ———————————————————————————————————————————————————————————————————————————————————————————————————————————

export type Token =
  | { readonly kind: 'word' | 'name' | 'text' | 'symbol'; readonly text: string; readonly at: number }
  | { readonly kind: 'literal'; readonly text: string; readonly value: Operand; readonly at: number }
  | { readonly kind: 'end'; readonly text: ''; readonly at: number };

export type TokenForm = readonly [form: RegExp, make: (text: string, at: number) => Token];

function readTokens(text: string, dialect: Dialect): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && /\s/.test(text[at]!)) at += 1;
    if (at === text.length) break;
    const token = readToken(text, at, dialect.tokenForms);
    if (token === undefined) throw invalid(dialect, text, `'${text[at]}' at ${at + 1} is not understood`);
    tokens.push(token[0]);
    if (tokens.length > dialect.tokensMax) throw invalid(dialect, text, `more than ${dialect.tokensMax} words`);
    at += token[1];
  }
  tokens.push({ kind: 'end', text: '', at });
  return tokens;
}

function readToken(
  text: string,
  at: number,
  tokenForms: readonly TokenForm[],
): [token: Token, length: number] | undefined {
  for (const [form, make] of tokenForms) {
    form.lastIndex = at;
    const found = form.exec(text)?.[0];
    if (found !== undefined) return [make(found, at), found.length];
  }
  return undefined;
}

function invalid(dialect: Dialect, text: string, why: string): BrokerError {
  return new BrokerError('invalid-field', `${dialect.name} "${text}": ${why}`);
}

// — grammar —————————————————————————————————————————————————————————————————————————————————————————————————————————

class Parser {
  private readonly text: string;
  private readonly tokens: readonly Token[];
  private readonly dialect: Dialect;
  private at = 0;
  private depth = 0;

  constructor(text: string, dialect: Dialect) {
    this.text = text;
    this.dialect = dialect;
    this.tokens = readTokens(text, dialect);
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
    return invalid(
      this.dialect,
      this.text,
      `${wanted} is expected at ${at + 1}, not ${kind === 'end' ? 'the end' : `'${text}'`}`,
    );
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
    const operator = this.take('symbol', ...this.dialect.comparisons);
    if (operator !== undefined) return this.compare(operator, left, this.sum());
    if (this.take('word', 'IS')) {
      const negated = this.take('word', 'NOT') !== undefined;
      this.need('word', 'NULL');
      return (message) => (left(message) === null) !== negated;
    }
    const negated = this.take('word', 'NOT') !== undefined;
    const predicate = this.predicate(left);
    if (predicate === undefined) {
      if (negated) throw this.unexpected(this.dialect.hasBetween ? 'BETWEEN, IN or LIKE' : 'IN or LIKE');
      return left;
    }
    return negated ? not(predicate) : predicate;
  }

  private predicate(left: Expression): Expression | undefined {
    if (this.dialect.hasBetween && this.take('word', 'BETWEEN')) {
      const low = this.sum();
      this.need('word', 'AND');
      return and(this.compare('>=', left, low), this.compare('<=', left, this.sum()));
    }
    if (this.take('word', 'IN')) {
      return this.dialect.listsStrings ? this.inStrings(left) : this.inItems(left);
    }
    if (this.take('word', 'LIKE')) {
      const pattern = this.needText();
      const escaping = this.take('word', 'ESCAPE') ? this.needText() : '';
      if ([...escaping].length > 1)
        throw invalid(this.dialect, this.text, `the escape '${escaping}' is more than one character`);
      const steps = readPattern(pattern, escaping);
      return (message) => {
        const value = left(message);
        return typeof value === 'string' ? isLike(value, steps) : null;
      };
    }
    return undefined;
  }

  private inStrings(left: Expression): Expression {
    this.need('symbol', '(');
    const texts = new Set([this.needText()]);
    while (this.take('symbol', ',')) texts.add(this.needText());
    this.need('symbol', ')');
    return (message) => {
      const value = left(message);
      return typeof value === 'string' ? texts.has(value) : null;
    };
  }

  private inItems(left: Expression): Expression {
    this.need('symbol', '(');
    const items = [this.sum()];
    while (this.take('symbol', ',')) items.push(this.sum());
    this.need('symbol', ')');
    const { dialect } = this;
    return (message) => {
      const value = left(message);
      if (value === null) return null;
      return items.some((item) => dialect.compare('=', value, item(message)) === true);
    };
  }

  private compare(operator: string, left: Expression, right: Expression): Expression {
    const { dialect } = this;
    return (message) => dialect.compare(operator, left(message), right(message));
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
      const operator = this.take('symbol', ...this.dialect.factors);
      if (operator === undefined) return left;
      left = this.calculate(operator, left, this.unary());
    }
  }

  private calculate(operator: string, left: Expression, right: Expression): Expression {
    const { dialect } = this;
    return (message) => dialect.calculate(operator, dialect.toNumber(left(message)), dialect.toNumber(right(message)));
  }

  private unary(): Expression {
    const sign = this.take('symbol', '+', '-');
    if (sign === undefined) return this.primary();
    return this.nested(() => {
      const operand = this.unary();
      const { dialect } = this;
      return (message) => {
        const value = dialect.toNumber(operand(message));
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
    if (token.kind === 'literal' || token.kind === 'text') {
      this.at += 1;
      const value = token.kind === 'literal' ? token.value : token.text;
      return () => value;
    }
    if (token.kind === 'name') {
      const operand = this.dialect.findOperand(token.text);
      if (operand === null) throw this.unexpected('a value');
      this.at += 1;
      return operand;
    }
    const truth = this.take('word', 'TRUE', 'FALSE');
    if (truth === undefined) throw this.unexpected('a value');
    return () => truth === 'TRUE';
  }

  private nested(read: () => Expression): Expression {
    this.depth += 1;
    if (this.depth > depthMax) throw invalid(this.dialect, this.text, `nested more than ${depthMax} deep`);
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

// — comparison ——————————————————————————————————————————————————————————————————————————————————————————————————————

export function isNumber(value: Operand): value is bigint | number {
  return typeof value === 'bigint' || typeof value === 'number';
}

/** Equal in value, whatever their types. */
export function compareNumbers(operator: string, a: bigint | number, b: bigint | number): boolean {
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
