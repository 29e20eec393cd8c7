import { runInNewContext } from 'node:vm';
import { badRequest, HttpError } from './errors.ts';

/** Parameters of a URL that every list understands [RabbitMQ: HTTP API, pagination]. */
export interface ListQuery {
  readonly page?: string;
  readonly page_size?: string;
  readonly name?: string;
  readonly use_regex?: string;
  readonly sort?: string;
  readonly sort_reverse?: string;
  /** Fields to show, separated by commas; dots lead inside. */
  readonly columns?: string;
}

type Item = Readonly<Record<string, unknown>>;

export interface Page {
  readonly filtered_count: number;
  readonly item_count: number;
  readonly items: readonly Item[];
  readonly page: number;
  readonly page_count: number;
  readonly page_size: number;
  readonly total_count: number;
}

const pageSizeDefault = 100;
const pageSizeMax = 500;
const matchingCode = 'names.map((name) => pattern.test(name))';
const patternTimeoutMs = 500;

/**
 * What of a list was asked for, in the order that was asked for: the items themselves, or a page of them.
 * @param show makes an item of a thing; called for those that are shown only, unless it takes more to sort or filter
 * @throws HttpError 400 for a page that is none, or a pattern that is none or takes too long
 */
export function list<T>(
  things: readonly T[],
  nameOf: ((thing: T) => string) | null,
  show: (thing: T) => Item,
  query: ListQuery,
): readonly Item[] | Page {
  const total = things.length;
  const filtered = filter(things, nameOf, query);
  const named = nameOf === null ? filtered : filtered.sort((a, b) => compare(nameOf(a), nameOf(b)));
  const { sort } = query;
  const isPage = (query.page ?? '') !== '';
  if (sort === undefined || sort === '') {
    if (query.sort_reverse === 'true') named.reverse();
    if (!isPage) return named.map((thing) => pickColumns(show(thing), query));
    return page(named, total, (thing) => pickColumns(show(thing), query), query);
  }
  const items = named.map(show).sort((a, b) => compare(find(a, sort), find(b, sort)));
  if (query.sort_reverse === 'true') items.reverse();
  if (!isPage) return items.map((item) => pickColumns(item, query));
  return page(items, total, (item) => pickColumns(item, query), query);
}

export function pickColumns(item: Item, { columns }: ListQuery): Item {
  if (columns === undefined || columns === '') return item;
  const picked: Record<string, unknown> = {};
  for (const column of columns.split(',')) {
    const value = find(item, column);
    if (value !== undefined) put(picked, column.split('.'), value);
  }
  return picked;
}

function filter<T>(things: readonly T[], nameOf: ((thing: T) => string) | null, query: ListQuery): T[] {
  const { name } = query;
  if (nameOf === null || name === undefined || name === '') return [...things];
  if (query.use_regex !== 'true') {
    const wanted = name.toLowerCase();
    return things.filter((thing) => nameOf(thing).toLowerCase().includes(wanted));
  }
  const matches = matchAll(name, things.map(nameOf));
  return things.filter((_thing, i) => matches[i]);
}

/**
 * Does each name match the pattern? A pattern is anybody's who may look, names are their publishers': in a context of
 * its own, because only there it can be broken off when it goes back and forth for ever.
 * @throws HttpError 400
 */
function matchAll(pattern: string, names: readonly string[]): readonly boolean[] {
  try {
    return runInNewContext(matchingCode, { pattern: new RegExp(pattern, 'i'), names }, { timeout: patternTimeoutMs });
  } catch (error) {
    throw badRequest(`'${pattern}' is no pattern: ${(error as Error).message}`);
  }
}

function page<T>(items: readonly T[], total: number, show: (item: T) => Item, query: ListQuery): Page {
  const number = readInteger(query.page);
  const size = (query.page_size ?? '') === '' ? pageSizeDefault : readInteger(query.page_size);
  if (number < 1 || size < 1 || size > pageSizeMax) {
    throw new HttpError(
      400,
      'invalid_pagination_parameters',
      `Invalid pagination parameters: page number ${number}, page size ${size}`,
    );
  }
  const count = Math.max(1, Math.ceil(items.length / size));
  if (number > count) {
    const reason = `Page out of range, page: ${number} page size: ${size}, len: ${items.length}`;
    throw new HttpError(400, 'page_out_of_range', reason);
  }
  const shown = items.slice((number - 1) * size, number * size);
  return {
    filtered_count: items.length,
    item_count: shown.length,
    items: shown.map(show),
    page: number,
    page_count: count,
    page_size: size,
    total_count: total,
  };
}

function readInteger(text: string | undefined): number {
  if (text === undefined || !/^-?\d{1,9}$/.test(text)) throw badRequest('Pagination parameters are invalid');
  return Number(text);
}

function find(item: Item, column: string): unknown {
  if (Object.hasOwn(item, column)) return item[column];
  let value: unknown = item;
  for (const part of column.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Item)[part];
  }
  return value;
}

function put(into: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [first = '', ...rest] = path;
  if (rest.length === 0) {
    into[first] = value;
    return;
  }
  into[first] ??= {};
  const next = into[first] as Record<string, unknown>;
  put(next, rest, value);
}

// What has no value comes first.
function compare(a: unknown, b: unknown): number {
  if (a === b) return 0;
  if (a === undefined || a === null) return -1;
  if (b === undefined || b === null) return 1;
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  const [left, right] = [String(a), String(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}
