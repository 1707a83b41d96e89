/** The version in package.json is that of all parts: the command, the filter's first line and metric, and the image. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, expect, test } from '@jest/globals';
import { buildModule, HostedModule } from '../../bench/module.ts';
import { VERSION } from '../../src-ts/version.ts';
import { ROOT } from '../../src-ts/wasm/builds.ts';

const CONFIG = Buffer.from(
  JSON.stringify({ tenants: [{ name: 'alpha', number: 1 }], rules: [{ principal: 'a', tenant: 'alpha' }] }),
);
const METRIC = `version=.=${VERSION};.;tidbmesh_build_info`;

let filter: HostedModule;
beforeAll(buildModule);
beforeEach(() => {
  filter = new HostedModule();
});

test('it is that of package.json', () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  expect(VERSION).toBe(version);
});

test("it is in the filter's first line, once", () => {
  filter.configure(CONFIG);
  filter.configure(CONFIG);
  expect(filter.greeting).toBe(`tidb-mesh ${VERSION} starts`);
  expect(filter.logged).toEqual([]);
});

test('a gauge is 1 while it runs, whatever other VMs say, and 0 when its last configuration has gone', () => {
  filter.configure(CONFIG);
  expect(filter.metric(METRIC)).toBe(1);
  const first = filter.supersede(CONFIG);
  filter.close(first);
  expect(filter.metric(METRIC)).toBe(1);
  filter.set(METRIC, 0);
  filter.tick();
  expect(filter.metric(METRIC)).toBe(1);
  const second = filter.supersede(CONFIG);
  const third = second + 1;
  filter.close(second);
  filter.close(third);
  expect(filter.metric(METRIC)).toBe(0);
});
