/** How `tidb-mesh doctor --versions` and docs/compatibility.md judge a version. */
import { describe, expect, test } from '@jest/globals';
import { judgeVersion, type Run, type Versions } from '../../src-ts/versions/versions.ts';

const NOTHING = { methods: [], requests: [], answers: [], changed: [] };
const run = (program: Run['program'], version: string, failed: string[] = []): Run => ({
  program,
  version,
  module: 'v0.0.0-20240101000000-000000000000',
  commit: '0000000',
  date: '2026-01-01',
  passed: 7,
  failed,
});
const VERSIONS: Versions = {
  checked: ['6.5', '8.5', '8.5.6', 'newest'].map((version) => ({
    version,
    kvproto: '',
    tipb: '',
    source: '',
    unknown: NOTHING,
  })),
  runs: [run('TiDB', '7.5.0'), run('TiDB', '8.5.6', ['two tenants bootstrap']), run('PD', '8.1.0')],
};

describe('a version', () => {
  test.each([
    ['TiDB', '8.0.11-TiDB-v7.5.0', 'run', '7.5.0'],
    ['TiDB', '8.0.11-TiDB-v7.5.3-5-g0123abc', 'run', '7.5.0'],
    ['TiDB', '5.7.25-TiDB-v6.5.0', 'checked', '6.5'],
    ['TiDB', '8.0.11-TiDB-v8.5.5', 'checked', '8.5'],
    ['TiDB', '8.0.11-TiDB-v8.5.6', 'checked', '8.5.6'],
    ['TiDB', '8.0.11-TiDB-v8.5.10', 'checked', '8.5.6'],
    ['TiDB', '8.0.11-TiDB-v7.6.0', 'unknown', undefined],
    ['TiDB', '8.0.11-TiDB-None', 'unknown', undefined],
    ['PD', 'v8.1.0-alpha', 'run', '8.1.0'],
    ['PD', 'v7.5.0', 'unknown', undefined],
    ['TiKV', '8.5.0-alpha', 'checked', '8.5'],
    ['TiKV', '7.5.0', 'unknown', undefined],
    ['TiKV', '', 'unknown', undefined],
  ] as const)('%s %s is %s', (program, said, known, by) => {
    expect(judgeVersion(program, said, VERSIONS)).toEqual({ known, by });
  });
});
