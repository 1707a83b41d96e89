/** Programs that call TiKV by a published client, as users of it would. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildJavaClient, buildRustClient, buildTool, hasProgram } from '../harness/stack/builds.ts';
import type { CertFiles } from '../harness/stack/certs.ts';

export type Mode = 'txn' | 'raw';

export interface Client {
  readonly title: string;
  /** Begins the names of its tenants. */
  readonly id: string;
  /** Programs without which it cannot be built. */
  readonly needs: readonly string[];
  /** Builds it where it is not cached yet; gives its command. */
  command(): Promise<readonly [program: string, ...args: string[]]>;
}

export const GO: Client = {
  title: "Go's client-go",
  id: 'go',
  needs: [],
  command: async () => [await buildTool('kvclient')],
};

export const RUST: Client = {
  title: "Rust's tikv-client",
  id: 'rust',
  needs: ['cargo'],
  command: async () => [await buildRustClient()],
};

export const JAVA: Client = {
  title: "Java's tikv-client-java",
  id: 'java',
  needs: ['mvn', 'javac'],
  async command() {
    const folder = await buildJavaClient();
    return ['java', '-cp', `${join(folder, 'lib', '*')}:${join(folder, 'classes')}`, 'Client'];
  },
};

export function missingOf({ needs }: Client): string[] {
  return needs.filter((program) => !hasProgram(program));
}

const run = promisify(execFile);
const LIMIT_MS = 180_000;

/** What it prints: a line for each call. Without certificates it speaks plaintext. */
export async function outputOf(client: Client, mode: Mode, pd: string, certs?: CertFiles): Promise<string> {
  const [program, ...args] = await client.command();
  const given = certs === undefined ? [] : [certs.ca, certs.cert, certs.key];
  const { stdout } = await run(program, [...args, mode, pd, ...given], { timeout: LIMIT_MS });
  return stdout;
}
