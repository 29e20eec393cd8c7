import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../../src/config/load.ts';
import { defaults, schema } from '../../../src/config/schema.ts';

const file = 'config/rosettamq.yaml';
const manual = readFileSync(file, 'utf8');

test('the configuration file, which is the manual, says every key with its default', () => {
  expect(parse(manual)).toEqual(defaults);
});

test('the file read as configuration is the defaults, and so is no file at all', () => {
  expect(loadConfig({ file, env: {}, sets: [] })).toEqual(schema.parse(defaults));
  expect(loadConfig({ file: undefined, env: {}, sets: [] })).toEqual(schema.parse(defaults));
});

test('every key of the file stands below a comment that explains it or its section', () => {
  const lines = manual.split('\n');
  const bare = lines
    .map((line, at) => ({ line, before: lines[at - 1] ?? '' }))
    .filter(({ line, before }) => /^[a-zA-Z]/.test(line) && before.trim() === '')
    .map(({ line }) => line)
    .filter((line) => !commentedInside(line));
  expect(bare).toEqual([]);

  function commentedInside(section: string): boolean {
    const from = lines.indexOf(section);
    return lines[from + 1]?.trim().startsWith('#') === true;
  }
});
