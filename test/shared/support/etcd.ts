/** PD's etcd through Go's own client, test/harness/servers/tidb/cmd/etcdclient: as a tenant through Envoy, or as the storage layer at PD itself. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface } from 'node:readline';
import { buildTool } from '../../harness/stack/builds.ts';
import { principalOf } from '../../harness/stack/certs.ts';
import type { Stack } from '../../harness/stack/stack.ts';

/** What one call gave; revisions and lease ids in it do not depend on the cluster. */
export interface EtcdStep {
  scenario: string;
  step: string;
  result?: unknown;
  error?: { code: string; text: string };
}

/** Where a client is: its flags. */
export type Place = readonly string[];

/** A tenant, through Envoy and the filter. */
export async function tenantPlace(stack: Stack, tenant: string): Promise<Place> {
  const { cert, key, ca } = await stack.certs.client(principalOf(tenant));
  return [`--endpoint=${stack.pd.meshAddress}`, `--cert=${cert}`, `--key-file=${key}`, `--ca=${ca}`];
}

/** PD itself; every key behind a prefix that the client adds, where one is given. */
export function directPlace(stack: Stack, namespace = ''): Place {
  return [`--endpoint=${new URL(stack.pd.directUrl).host}`, `--namespace=${namespace}`];
}

/** Starts a command of the tool. */
async function start(command: string, args: readonly string[]): Promise<ChildProcessWithoutNullStreams> {
  return spawn(await buildTool('etcdclient'), [command, ...args]);
}

/** Runs a command of the tool to its end and gives its lines. Fails with what it wrote to stderr. */
export async function etcdLines<T>(command: string, args: readonly string[]): Promise<T[]> {
  const child = await start(command, args);
  let out = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`etcdclient ${command} ended with ${String(code)}: ${errors}`);
  return out
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as T);
}

/** What a watch tells: an event, that it is there, why it was cancelled, that it has ended. */
export interface Told {
  type?: 'PUT' | 'DELETE';
  key?: string;
  value?: string;
  revision?: number;
  created?: boolean;
  error?: { code: string; text: string };
  compacted?: boolean;
  compactRevision?: number;
  ended?: boolean;
}

export interface Follower {
  /** All that it was told until now. */
  readonly told: readonly Told[];
  /** Resolves when that is so of `told`. */
  until(what: string, holds: (told: readonly Told[]) => boolean): Promise<void>;
  stop(): Promise<void>;
}

const FOLLOW_TIMEOUT = 60_000;

/** Watches a prefix from a revision on. */
export async function follow(place: Place, key: string, revision: number): Promise<Follower> {
  const child = await start('follow', [...place, `--key=${key}`, `--revision=${revision}`]);
  const told: Told[] = [];
  let look = (): void => {};
  createInterface(child.stdout).on('line', (line) => {
    told.push(JSON.parse(line) as Told);
    look();
  });
  child.stderr.resume();
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return {
    told,
    until: (what, holds) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`${what}: not within a minute, told ${JSON.stringify(told)}`)),
          FOLLOW_TIMEOUT,
        );
        look = () => {
          if (!holds(told)) return;
          clearTimeout(timer);
          resolve();
        };
        look();
      }),
    async stop() {
      child.stdin.end();
      await gone;
    },
  };
}
