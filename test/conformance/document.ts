import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Writes docs/conformance.md: for each specification its statements, the tests whose titles cite them, and the sources
 * that do. Run it after changing either: `npm run docs:conformance`.
 */

export interface Section {
  readonly title: string;
  /** What is said below it. */
  readonly about: string;
  /** A file of lines `id | demand | reason why there is no test`; null: there is no list, and the tests speak for themselves. */
  readonly statements: string | null;
  /** Finds citations: its first group is an id. */
  readonly citation: RegExp;
  readonly tests: string;
  readonly sources: string;
}

export const path = 'docs/conformance.md';

export const sections: readonly Section[] = [
  {
    title: 'MQTT 5.0',
    about: 'Cited as `[MQTT-x.y.z-n]`.',
    statements: 'test/conformance/statements/mqtt-5.0.txt',
    citation: /\[(MQTT-[\d.]+-\d+)\]/g,
    tests: 'test/{conformance,interop,unit}/**/*.test.ts',
    sources: 'src/**/*.ts',
  },
  {
    title: 'MQTT 3.1.1',
    about: 'Cited as `[3.1.1 MQTT-x.y.z-n]`, for the numbers are others than those of 5.0.',
    statements: 'test/conformance/statements/mqtt-3.1.1.txt',
    citation: /\[3\.1\.1 (MQTT-[\d.]+-\d+)\]/g,
    tests: 'test/{conformance,interop,unit}/**/*.test.ts',
    sources: 'src/**/*.ts',
  },
  ...stompSections(),
  {
    title: 'AMQP 0-9-1',
    about:
      'Cited as `[0-9-1 class.method.field.rule]`, the rules of the grammar, and `[0-9-1 §SECTION-n]`, those of the document. `![…]` is not kept, where RabbitMQ does not keep it.',
    statements: 'test/conformance/statements/amqp-0-9-1.txt',
    citation: /\[0-9-1 ([^\]]+)\]/g,
    tests: 'test/{conformance,interop,unit}/**/*.test.ts',
    sources: 'src/**/*.ts',
  },
  {
    title: 'AMQP 1.0',
    about: 'Cited as `[1.0 §SECTION-n]`: what is demanded of a broker is counted under its sections.',
    statements: 'test/conformance/statements/amqp-1.0.txt',
    citation: /\[1\.0 (§[\d.]+-\d+)\]/g,
    tests: 'test/{conformance,interop,unit}/**/*.test.ts',
    sources: 'src/**/*.ts',
  },
];

// The specifications of STOMP number nothing: statements are counted under their headings.
function stompSections(): Section[] {
  return [
    ['1.2', 'Cited as `[STOMP 1.2 §HEADING-n]`: its statements are counted under its headings.'],
    ['1.1', 'What it says otherwise than 1.2; the rest is the same.'],
    ['1.0', 'What it says otherwise than 1.1 and 1.2.'],
  ].map(([version, about]) => ({
    title: `STOMP ${version}`,
    about: about as string,
    statements: `test/conformance/statements/stomp-${version}.txt`,
    citation: new RegExp(`\\[STOMP (${version?.replace('.', '\\.')} §[A-Za-z -]+-\\d+)\\]`, 'g'),
    tests: 'test/{conformance,interop,unit}/**/*.test.ts',
    sources: 'src/**/*.ts',
  }));
}

interface Statement {
  readonly id: string;
  readonly demand: string;
  /** Why there is no test; empty when there is to be one. */
  readonly reason: string;
}

interface Test {
  readonly title: string;
  readonly file: string;
  readonly ids: readonly string[];
}

/** What a section's files say. */
export interface Survey {
  readonly section: Section;
  readonly statements: readonly Statement[];
  readonly tests: readonly Test[];
  readonly sourcesOf: ReadonlyMap<string, readonly string[]>;
  /** Neither a test nor a reason. */
  readonly missing: readonly string[];
  /** Cited, but no statement. */
  readonly unknown: readonly string[];
  /** A test, and a reason why there is none. */
  readonly contradicted: readonly string[];
}

export function survey(section: Section): Survey {
  const statements = section.statements === null ? [] : readStatements(section.statements);
  const tests = globSync(section.tests)
    .sort()
    .flatMap((file) => readTitles(file, section.citation));
  const sourcesOf = new Map<string, string[]>();
  for (const file of globSync(section.sources).sort()) {
    for (const id of idsIn(readFileSync(file, 'utf8'), section.citation)) {
      const files = sourcesOf.get(id) ?? [];
      if (!files.includes(file)) files.push(file);
      sourcesOf.set(id, files);
    }
  }
  const known = new Set(statements.map(({ id }) => id));
  const tested = new Set(tests.flatMap(({ ids }) => ids));
  const isListed = section.statements !== null;
  return {
    section,
    statements,
    tests,
    sourcesOf,
    missing: statements.filter(({ id, reason }) => reason === '' && !tested.has(id)).map(({ id }) => id),
    unknown: isListed ? [...new Set([...tested, ...sourcesOf.keys()])].filter((id) => !known.has(id)) : [],
    contradicted: statements.filter(({ id, reason }) => reason !== '' && tested.has(id)).map(({ id }) => id),
  };
}

export function write(surveys: readonly Survey[]): string {
  const parts = surveys.map(({ section, statements, tests, sourcesOf }) => {
    const rows =
      section.statements === null
        ? tests.map(({ title, file }) => `- ${title} — ${nameOf(file)}`)
        : [
            '| statement | what it demands | shown by | kept in |',
            '|---|---|---|---|',
            ...statements.map((statement) => rowOf(statement, tests, sourcesOf.get(statement.id) ?? [])),
          ];
    return `## ${section.title}\n\n${section.about}\n\n${rows.join('\n')}\n`;
  });
  return `${preface}\n${parts.join('\n')}`;
}

const preface = `# Conformance

Every numbered normative statement of the specifications, in our own words, with the tests that show it and the files that
cite it; or the reason why there is no test. Written by \`npm run docs:conformance\`: do not edit it.
`;

function rowOf({ id, demand, reason }: Statement, tests: readonly Test[], sources: readonly string[]): string {
  const shown = tests.filter(({ ids }) => ids.includes(id)).map(({ title, file }) => `${title} — ${nameOf(file)}`);
  const why = reason === 'client' ? '*The client’s to keep.*' : `*${reason}*`;
  const kept = sources.map((file) => `\`${file.replace(/^src\//, '')}\``);
  return `| ${id} | ${demand} | ${shown.length === 0 ? why : shown.join('<br>')} | ${kept.join(' ')} |`;
}

function nameOf(file: string): string {
  return `\`${file.replace(/^test\//, '').replace(/\.test\.ts$/, '')}\``;
}

function readStatements(file: string): Statement[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [id = '', demand = '', reason = ''] = line.split(' | ');
      return { id, demand, reason };
    });
}

// Titles of tests and of their rows are the literals that cite something.
function readTitles(file: string, citation: RegExp): Test[] {
  const text = readFileSync(file, 'utf8').replace(/^\s*(\/\/|\*|\/\*).*$/gm, '');
  const literals = [...text.matchAll(/'((?:[^'\\\n]|\\.)*)'|`([^`\n]*)`|"([^"\n]*)"/g)];
  return literals.flatMap((literal) => {
    const title = literal[1] ?? literal[2] ?? literal[3] ?? '';
    const ids = idsIn(title, citation);
    return ids.length === 0 ? [] : [{ title: plain(title), file, ids }];
  });
}

function idsIn(text: string, citation: RegExp): string[] {
  return [...new Set([...text.matchAll(citation)].map((match) => match[1] as string))];
}

function plain(title: string): string {
  return title
    .replace(/\[(3\.1\.1 )?MQTT-[^\]]*\] ?/g, '')
    .replace(/\[STOMP 1\.\d §[^\]]*-\d+\] ?/g, '')
    .replace(/\[0-9-1 [^\]]+\] ?/g, '')
    .replace(/\[1\.0 §[^\]]+\] ?/g, '')
    .replaceAll("\\'", "'")
    .replaceAll('|', '\\|');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(path, write(sections.map(survey)));
