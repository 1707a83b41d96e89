/** A real Envoy with the filter before a small upstream, and a client that sends raw frames over mTLS. */
import { readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import {
  connect,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepare } from '../stack/builds.ts';
import { createCerts, principalOf, type CertFiles, type Certs } from '../stack/certs.ts';
import { envoyBootstrap } from '../stack/envoy-config.ts';
import { freePorts } from '../stack/ports.ts';
import { startRun, waitHealthy, type Run, type ServerProcess } from '../stack/processes.ts';
import { silent } from '../stack/progress.ts';
import { standardPluginConfig } from '../stack/stack.ts';
import { startUpstream, unframe, type Upstream } from './upstream.ts';

export const TENANTS = [
  { name: 'alpha', number: 1 },
  { name: 'beta', number: 2 },
];

/** What a client got of a gRPC call. `status` is -1 when the stream was reset without one. */
export interface Outcome {
  status: number;
  text: string;
  messages: Buffer[];
  httpStatus: number;
}

export interface Mesh {
  upstream: Upstream;
  certs: Certs;
  /** `127.0.0.1:port` of the listener with an HTTP/1.1 upstream. */
  httpAddress: string;
  logPath: string;
  alpha: Caller;
  beta: Caller;
  caller(certs: CertFiles): Caller;
  /** A statistic of Envoy. */
  stat(name: RegExp): Promise<number>;
  stop(): Promise<void>;
}

export class Caller {
  private session: ClientHttp2Session | undefined;

  constructor(
    private readonly port: number,
    private readonly files: CertFiles,
  ) {}

  private open(): ClientHttp2Session {
    if (this.session && !this.session.closed && !this.session.destroyed) return this.session;
    const session = connect(`https://localhost:${this.port}`, {
      ca: readFileSync(this.files.ca),
      cert: readFileSync(this.files.cert),
      key: readFileSync(this.files.key),
      lookup: (_name, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
    });
    session.on('error', () => {});
    this.session = session;
    return session;
  }

  /** One gRPC stream: writes the pieces one by one, then ends it, with these trailers if there are any, unless `open`. */
  call(
    path: string,
    pieces: Buffer[],
    options: { headers?: OutgoingHttpHeaders; trailers?: OutgoingHttpHeaders; open?: boolean } = {},
  ): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const { trailers } = options;
      const stream = this.open().request(
        {
          ':method': 'POST',
          ':path': path,
          'content-type': 'application/grpc',
          te: 'trailers',
          ...options.headers,
        },
        { waitForTrailers: trailers !== undefined },
      );
      if (trailers) stream.on('wantTrailers', () => stream.sendTrailers(trailers));
      const timer = setTimeout(() => {
        stream.destroy();
        reject(new Error(`${path}: no answer within 10 s`));
      }, 10_000);
      const parts: Buffer[] = [];
      let found: IncomingHttpHeaders = {};
      const take = (headers: IncomingHttpHeaders): void => {
        found = { ...found, ...headers };
      };
      stream.on('response', take);
      stream.on('trailers', take);
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.on('error', () => {});
      stream.on('close', () => {
        clearTimeout(timer);
        resolve({
          status: Number(found['grpc-status'] ?? -1),
          text: decodeURIComponent(String(found['grpc-message'] ?? '')),
          messages: unframe(Buffer.concat(parts)),
          httpStatus: Number(found[':status'] ?? 0),
        });
      });
      const write = (index: number): void => {
        const piece = pieces[index];
        if (piece === undefined) {
          if (!options.open) stream.end();
        } else stream.write(piece, () => setTimeout(write, 2, index + 1));
      };
      write(0);
    });
  }

  close(): void {
    this.session?.destroy();
  }
}

interface Started {
  run: Run;
  envoy: ServerProcess;
  ports: { pd: number; store: number; admin: number };
  certs: Certs;
  upstream: Upstream;
}

/** Starts Envoy with this configuration; does not wait for it. */
export async function startEnvoy(pluginConfig: unknown): Promise<Started> {
  const binaries = await prepare(silent);
  const run = await startRun();
  const upstream = await startUpstream();
  const certs = await createCerts(join(run.data, 'certs'));
  const [pd = 0, store = 0, admin = 0] = await freePorts(3);
  const ports = { pd, store, admin };
  const folder = join(run.data, 'envoy');
  await mkdir(folder, { recursive: true });
  const config = join(folder, 'envoy.json');
  const bootstrap = envoyBootstrap({
    ports,
    upstream: { pd: upstream.httpPort, store: upstream.grpcPort },
    certs: certs.server,
    accessLog: join(run.logs, 'envoy-access.log'),
    filter: { wasmPath: binaries.wasm, pluginConfig },
  });
  await writeFile(config, JSON.stringify(bootstrap));
  const envoy = await run.spawn({
    name: 'envoy',
    command: binaries.envoy,
    args: ['--config-path', config, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'warning'],
  });
  return { run, envoy, ports, certs, upstream };
}

/** Runs Envoy with a configuration that it must refuse; gives its exit status and its log. */
export async function refusedStart(pluginConfig: unknown): Promise<{ code: number | null; log: string }> {
  const { run, envoy, upstream } = await startEnvoy(pluginConfig);
  try {
    for (let i = 0; i < 200 && !envoy.exit; i++) await sleep(50);
    if (!envoy.exit) throw new Error('Envoy started with a configuration that it should refuse');
    return { code: envoy.exit.code, log: await readFile(envoy.logPath, 'utf8') };
  } finally {
    await run.end();
    await upstream.stop();
  }
}

export async function startMesh(more: Record<string, unknown> = {}): Promise<Mesh> {
  const { run, envoy, ports, certs, upstream } = await startEnvoy({
    ...standardPluginConfig(TENANTS),
    ...more,
  });
  await waitHealthy(envoy, 'readiness', 30_000, async () => {
    const response = await fetch(`http://127.0.0.1:${ports.admin}/ready`);
    return response.ok ? true : undefined;
  });
  const callers: Caller[] = [];
  const caller = (files: CertFiles): Caller => {
    const made = new Caller(ports.store, files);
    callers.push(made);
    return made;
  };
  return {
    upstream,
    certs,
    httpAddress: `127.0.0.1:${ports.pd}`,
    logPath: envoy.logPath,
    alpha: caller(await certs.client(principalOf('alpha'))),
    beta: caller(await certs.client(principalOf('beta'))),
    caller,
    async stat(name) {
      const response = await fetch(`http://127.0.0.1:${ports.admin}/stats`);
      let total = 0;
      for (const line of (await response.text()).split('\n')) {
        const [key = '', value] = line.split(': ');
        if (name.test(key)) total += Number(value);
      }
      return total;
    },
    async stop() {
      for (const made of callers) made.close();
      await run.end();
      await upstream.stop();
    },
  };
}
