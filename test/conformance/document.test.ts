import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { path, sections, survey, write } from './document.ts';

const surveys = sections.map(survey);

describe.each(surveys)('$section.title', ({ missing, unknown, contradicted }) => {
  test('every statement has a test, or the reason why not', () => {
    expect(missing).toEqual([]);
  });

  test('what is cited is a statement', () => {
    expect(unknown).toEqual([]);
  });

  test('what has a test has no reason against one', () => {
    expect(contradicted).toEqual([]);
  });
});

test(`${path} is up to date: npm run docs:conformance`, () => {
  expect(readFileSync(path, 'utf8')).toBe(write(surveys));
});

test('a protocol without numbered statements lists its tests by their titles', () => {
  const section = {
    title: 'STOMP',
    about: '',
    statements: null,
    citation: /\[(STOMP 1\.\d[^\]]*)\]/g,
    tests: 'test/conformance/stomp/*.test.ts',
    sources: 'src/protocols/stomp/*.ts',
  };
  const { tests, unknown } = survey(section);
  expect(tests.length).toBeGreaterThan(0);
  expect(unknown).toEqual([]);
});
