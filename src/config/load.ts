import { readFileSync } from 'node:fs';
import { parse, YAMLParseError } from 'yaml';
import { type Config, defaults, mapShapes, schema } from './schema.ts';

/** What is wrong with the configuration, in one line that names the key and the value. */
export class ConfigError extends Error {}

export interface Sources {
  /** Path of the file; undefined: the defaults alone. */
  readonly file: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `key=value` of `--set`, and the flags that stand for keys. */
  readonly sets: readonly (readonly [key: string, value: string])[];
}

type Tree = { [key: string]: unknown };

const envPrefix = 'ROSETTAMQ_';
/** Variables of the command line's, which may stand in the same environment. */
const notConfiguration = new Set(['ROSETTAMQ_URL', 'ROSETTAMQ_USER', 'ROSETTAMQ_PASSWORD', 'ROSETTAMQ_VHOST']);
/** Given at all, these replace the default instead of being merged with it. */
const replaced = new Set(['users', 'vhosts']);
/** Keys that are text even where no default stands to tell. */
const textKeys = new Set(['password']);

/** Defaults < file < environment < flags. @throws ConfigError */
export function loadConfig({ file, env, sets }: Sources): Config {
  const tree = structuredClone(defaults) as unknown as Tree;
  if (file !== undefined) merge(tree, readFile(file));
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(envPrefix) || value === undefined || notConfiguration.has(name)) continue;
    set(tree, pathOfVariable(name, tree), value, name);
  }
  for (const [key, value] of sets) set(tree, key.split('.'), value, key);
  return check(tree);
}

function readFile(file: string): Tree {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(`cannot read the configuration file '${file}': ${(error as NodeJS.ErrnoException).code}`);
  }
  try {
    const tree: unknown = parse(text) ?? {};
    if (typeof tree !== 'object' || Array.isArray(tree)) throw new ConfigError(`${file}: a map of keys is expected`);
    return tree as Tree;
  } catch (error) {
    if (error instanceof YAMLParseError) throw new ConfigError(`${file}: ${error.message.split('\n')[0]}`);
    throw error;
  }
}

function merge(into: Tree, from: Tree): void {
  for (const [key, value] of Object.entries(from)) {
    const current = into[key];
    if (isTree(current) && isTree(value) && !replaced.has(key)) merge(current, value);
    else into[key] = value;
  }
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `ROSETTAMQ_LISTENERS_MQTT_PORT` → listeners, mqtt, port. */
function pathOfVariable(name: string, tree: Tree): string[] {
  const path = findPath(name.slice(envPrefix.length).toUpperCase(), tree, '');
  if (path === undefined) throw new ConfigError(`${name}: no configuration key has this name`);
  return path;
}

function findPath(rest: string, tree: Tree, parent: string): string[] | undefined {
  for (const [key, value] of Object.entries(tree)) {
    const spelled = toVariable(key);
    if (rest === spelled) return [key];
    if (!rest.startsWith(`${spelled}_`) || !isTree(value)) continue;
    const path = findPath(rest.slice(spelled.length + 1), value, key);
    if (path !== undefined) return [key, ...path];
  }
  // A listener or user that is not there yet: what is before a known key is its name.
  for (const key of mapShapes[parent] ?? []) {
    const end = `_${toVariable(key)}`;
    if (rest.endsWith(end) && rest.length > end.length) return [rest.slice(0, -end.length).toLowerCase(), key];
  }
  return undefined;
}

function toVariable(key: string): string {
  return key
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/-/g, '_')
    .toUpperCase();
}

function parseScalar(text: string): unknown {
  try {
    return parse(text);
  } catch {
    return text;
  }
}

/** Text where text is wanted: a password `0123` is no number. */
function set(tree: Tree, path: readonly string[], text: string, shown: string): void {
  const last = path.at(-1);
  if (last === undefined || last === '') throw new ConfigError(`${shown}: a key is expected`);
  let node = tree;
  for (const key of path.slice(0, -1)) {
    const next = node[key] ?? {};
    if (!isTree(next)) throw new ConfigError(`${shown}: '${key}' is no map of keys`);
    node[key] = next;
    node = next;
  }
  const value = parseScalar(text);
  const isText = typeof node[last] === 'string' || textKeys.has(last);
  node[last] = isText && typeof value !== 'string' ? text : value;
}

function check(tree: Tree): Config {
  const result = schema.safeParse(tree);
  if (result.success) return checkNames(result.data);
  const issue = result.error.issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const key = [...issue.path, issue.keys[0]].join('.');
    throw new ConfigError(`${key}: unknown key (value ${show(valueAt(tree, key.split('.')))})`);
  }
  const key = issue.path.join('.');
  throw new ConfigError(
    `${key}: ${issue.message.replace(/^Invalid input: /, '')} (value ${show(valueAt(tree, issue.path))})`,
  );
}

function checkNames(config: Config): Config {
  if (!config.vhosts.includes(config.defaultVhost)) {
    throw new ConfigError(`defaultVhost: not one of vhosts (value ${show(config.defaultVhost)})`);
  }
  if (config.anonymous.enabled && config.users[config.anonymous.user] === undefined) {
    throw new ConfigError(`anonymous.user: not one of users (value ${show(config.anonymous.user)})`);
  }
  return config;
}

function valueAt(tree: Tree, path: readonly PropertyKey[]): unknown {
  let node: unknown = tree;
  for (const key of path) node = isTree(node) || Array.isArray(node) ? (node as Tree)[String(key)] : undefined;
  return node;
}

function show(value: unknown): string {
  return value === undefined ? 'missing' : JSON.stringify(value);
}
