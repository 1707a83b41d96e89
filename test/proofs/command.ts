/** Processes of `tidb-mesh move run`. The Envoy of the stack takes its configuration from the file that they change. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, unwatchFile, watchFile, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { REPOSITORY } from '../harness/stack/builds.ts';
import type { Moving } from '../move/moving.ts';

const WATCH_MS = 20;

interface RunOptions {
  /** The step of a move at which it is killed: see die-at.mjs. */
  readonly dieAt?: string | undefined;
  /** Ends when no move is left. */
  readonly untilDone?: boolean;
}

export class Command {
  private readonly file: string;

  constructor(private readonly moving: Moving) {
    this.file = join(moving.stack.run.data, 'plugin-config.json');
    writeFileSync(this.file, JSON.stringify(moving.config()));
    watchFile(this.file, { interval: WATCH_MS }, () => {
      void moving.stack.configure(JSON.parse(readFileSync(this.file, 'utf8')));
    });
  }

  end(): void {
    unwatchFile(this.file);
  }

  /** What the file says of a tenant. */
  entry(name: string): Tenant {
    const { tenants } = JSON.parse(readFileSync(this.file, 'utf8')) as { tenants: Tenant[] };
    return tenants.find((tenant) => tenant.name === name)!;
  }

  /** Starts a worker. What it says is in what the test tells of a failure. */
  run({ dieAt = '', untilDone = false }: RunOptions = {}): ChildProcess {
    const { certs, urls, said } = this.moving;
    const [pd = ''] = urls;
    const child = spawn(
      process.execPath,
      [
        ...['test/proofs/die-at.mjs', 'move', 'run', '--config', this.file, '--pd', pd],
        ...['--cert', certs.cert, '--key', certs.key, '--ca', certs.ca, '--envoy', ...urls],
        ...(untilDone ? ['--until-done'] : []),
      ],
      {
        cwd: REPOSITORY,
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, TIDB_MESH_DIE_AT: dieAt },
      },
    );
    child.stderr.on('data', (text: Buffer) => said.push(text.toString()));
    return child;
  }
}
