import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, test } from 'vitest';

/** The rooms of the house and what each may import (docs/architecture.md); the first folders of a path decide. */
const mayImport: Record<string, readonly string[]> = {
  lib: [],
  core: ['lib'],
  transport: ['lib'],
  'protocols/amqp091': ['core', 'transport', 'lib'],
  'protocols/amqp10': ['core', 'transport', 'lib'],
  'protocols/mqtt': ['core', 'transport', 'lib'],
  'protocols/stomp': ['core', 'transport', 'lib'],
  storage: ['core', 'lib'],
  auth: ['core', 'lib'],
  bridges: ['core', 'lib'],
  metrics: ['core', 'auth', 'bridges', 'lib'],
  management: ['core', 'auth', 'bridges', 'lib'],
  config: ['lib'],
  cli: ['core', 'storage', 'config', 'lib', 'top'],
};
/** The only files that know everyone. */
const top = ['main.ts', 'run.ts', 'server.ts', 'cli.ts'];

const files = globSync('src/**/*.ts').map((file) => relative('src', file));

function roomOf(file: string): string | undefined {
  const [first, second] = file.split('/');
  if (top.includes(file)) return 'top';
  const room = first === 'protocols' ? `protocols/${second}` : (first as string);
  return room in mayImport ? room : undefined;
}

function importsOf(file: string): string[] {
  const text = readFileSync(join('src', file), 'utf8');
  return [...text.matchAll(/(?:from|import) '([^']+)'/g)].map((match) => match[1] as string);
}

test('every file stands in a room', () => {
  expect(files.filter((file) => roomOf(file) === undefined)).toEqual([]);
});

test('a room imports only the rooms below it', () => {
  const strangers: string[] = [];
  for (const file of files) {
    const room = roomOf(file) as string;
    if (room === 'top') continue;
    for (const specifier of importsOf(file).filter((each) => each.startsWith('.'))) {
      const target = roomOf(join(dirname(file), specifier));
      if (target !== room && !mayImport[room]?.includes(target as string)) strangers.push(`${file} → ${specifier}`);
    }
  }
  expect(strangers).toEqual([]);
});

test('protocols and the core see neither sockets nor files', () => {
  const strangers = files
    .filter((file) => /^(core|lib|protocols)\//.test(file))
    .flatMap((file) => importsOf(file).map((specifier) => [file, specifier] as const))
    .filter(([, specifier]) => /^node:(net|tls|fs|fs\/promises|http|https|dgram)$/.test(specifier));
  expect(strangers).toEqual([]);
});

test('time comes from the clock and the timers, and nothing is written to the console', () => {
  const strays: string[] = [];
  for (const file of files) {
    const text = readFileSync(join('src', file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    if (/\bconsole\./.test(text)) strays.push(`${file}: console`);
    if (/^(lib|transport)\//.test(file) || top.includes(file)) continue;
    if (/\b(setTimeout|setInterval)\(/.test(text)) strays.push(`${file}: a timer of its own`);
    if (/\bDate\.now\(|\bnew Date\(\)/.test(text)) strays.push(`${file}: Date.now()`);
  }
  expect(strays).toEqual([]);
});

test('imports say .ts, and types are erasable', () => {
  const relativeImports = files.flatMap((file) =>
    importsOf(file)
      .filter((each) => each.startsWith('.') && !each.endsWith('.ts'))
      .map((each) => `${file} → ${each}`),
  );
  expect(relativeImports).toEqual([]);
});
