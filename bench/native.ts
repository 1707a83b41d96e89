/** The native peer: a Go program that does the same to the same bytes, see test/harness/servers/tidb/cmd/nativebench. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { buildTool } from '../test/harness/stack/builds.ts';
import type { Took } from './clock.ts';

export interface NativeMessage {
  readonly name: string;
  readonly type: string;
  readonly bytes: Uint8Array;
}

export class Native {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly lines: Interface;
  private readonly answers: AsyncIterator<string>;

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.child = child;
    this.lines = createInterface({ input: child.stdout });
    this.answers = this.lines[Symbol.asyncIterator]();
    child.stderr.pipe(process.stderr);
  }

  /** Starts the program, building it when needed; `keyspace` and `prefix` are the tenant's in the store and in etcd. */
  static async start(messages: readonly NativeMessage[], keyspace: number, prefix: string): Promise<Native> {
    const native = new Native(spawn(await buildTool('nativebench'), { stdio: 'pipe' }));
    const list = messages.map(({ name, type, bytes }) => ({
      name,
      type,
      keyspace,
      prefix,
      bytes: Buffer.from(bytes).toString('base64'),
    }));
    native.child.stdin.write(`${JSON.stringify(list)}\n`);
    return native;
  }

  private async ask(command: string): Promise<unknown> {
    this.child.stdin.write(`${command}\n`);
    const answer = await this.answers.next();
    if (answer.done) throw new Error(`the native peer ended at "${command}"`);
    return JSON.parse(answer.value);
  }

  /** Rewrites the message with this index so many times. */
  async run(index: number, times: number): Promise<Took> {
    return (await this.ask(`run ${index} ${times}`)) as Took;
  }

  /** What the message becomes. */
  async show(index: number): Promise<Uint8Array> {
    const { bytes } = (await this.ask(`show ${index}`)) as { bytes: string };
    return Buffer.from(bytes, 'base64');
  }

  stop(): void {
    this.lines.close();
    this.child.kill();
  }
}
