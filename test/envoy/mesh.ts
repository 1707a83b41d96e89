/** A real Envoy with the filter before a small upstream, and a client that sends raw frames over mTLS. */
import { readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import {
  connect,
  constants,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpFilter } from '../../src-ts/standalone/bootstrap.ts';
import { prepare } from '../harness/stack/builds.ts';
import { createCerts, principalOf, type CertFiles, type Certs } from '../harness/stack/certs.ts';
import { envoyBootstrap, watchedFilter } from '../harness/stack/envoy-config.ts';
import { freePorts } from '../harness/stack/ports.ts';
import { startRun, waitHealthy, type Run, type ServerProcess } from '../harness/stack/processes.ts';
import { silent } from '../harness/stack/progress.ts';
import { standardPluginConfig } from '../harness/stack/stack.ts';
import { startUpstream, unframe, type Upstream } from './upstream.ts';

const { NGHTTP2_CANCEL } = constants;

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
  /** The answer's bytes, and its headers and trailers. */
  body: Buffer;
  headers: IncomingHttpHeaders;
}

export interface Mesh {
  /** Gives the filter another configuration, under open streams; only where it was started as watched. */
  configure(pluginConfig: unknown): Promise<void>;
  upstream: Upstream;
  certs: Certs;
  /** `127.0.0.1:port` of the listener with an HTTP/1.1 upstream. */
  httpAddress: string;
  /** The port of the other one, for clients that write their own frames. */
  storePort: number;
  envoyPid: number;
  logPath: string;
  alpha: Caller;
  beta: Caller;
  caller(certs: CertFiles): Caller;
  /** The same to the listener with an HTTP/1.1 upstream. */
  httpCaller(certs: CertFiles): Caller;
  /** Entries of the access log, oldest first. */
  accesses(): Promise<Record<string, string | number | null>[]>;
  /** All statistics as Prometheus reads them. */
  prometheus(): Promise<string>;
  /** `host:port` of Envoy's admin listener. */
  admin: string;
  /** Starts further servers beside it, which end with it. */
  run: Run;
  /** A statistic of Envoy. */
  stat(name: RegExp): Promise<number>;
  stop(): Promise<void>;
}

/** What stands around the filter. */
export interface Around {
  /** Envoy's node. */
  node?: object;
  /** HTTP filters before it. */
  before?: readonly HttpFilter[];
  /** The wasm module, instead of build/release.wasm. */
  wasmPath?: string;
  /** Whether Envoy starts a module again that has trapped. Default true. */
  isReloaded?: boolean;
}

/** Resident memory of a process, KiB. */
export function residentKiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? NaN);
}

export interface OpenStream {
  write(piece: Buffer): void;
  end(): void;
  /** Resets it, as a client does whose time is up. */
  reset(): void;
  /** Whole messages that have come. */
  readonly messages: Buffer[];
  readonly closed: boolean;
}

export class Caller {
  private current: ClientHttp2Session | undefined;

  constructor(
    private readonly port: number,
    private readonly files: CertFiles,
  ) {}

  /** A gRPC stream that stays open until either side ends it. */
  open(path: string, headers: OutgoingHttpHeaders = {}): OpenStream {
    const stream = this.session().request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    const parts: Buffer[] = [];
    let closed = false;
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('error', () => {});
    stream.on('close', () => (closed = true));
    return {
      write: (piece) => void stream.write(piece),
      end: () => void stream.end(),
      reset: () => stream.close(NGHTTP2_CANCEL),
      get messages() {
        return unframe(Buffer.concat(parts));
      },
      get closed() {
        return closed;
      },
    };
  }

  private session(): ClientHttp2Session {
    if (this.current && !this.current.closed && !this.current.destroyed) return this.current;
    const session = connect(`https://localhost:${this.port}`, {
      ca: readFileSync(this.files.ca),
      cert: readFileSync(this.files.cert),
      key: readFileSync(this.files.key),
      lookup: (_name, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
    });
    session.on('error', () => {});
    this.current = session;
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
      const stream = this.session().request(
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
          body: Buffer.concat(parts),
          headers: found,
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
    this.current?.destroy();
  }
}

interface Started {
  /** Gives the filter another configuration, under open streams. */
  configure(pluginConfig: unknown): Promise<void>;
  run: Run;
  envoy: ServerProcess;
  ports: { pd: number; store: number; admin: number };
  certs: Certs;
  upstream: Upstream;
}

/** Starts Envoy with this configuration, in a file that is watched if `watched`; does not wait for it. */
export async function startEnvoy(
  pluginConfig: unknown,
  watched = false,
  around: Around = {},
): Promise<Started> {
  const binaries = await prepare(silent);
  const run = await startRun();
  const upstream = await startUpstream();
  const certs = await createCerts(join(run.data, 'certs'));
  const [pd = 0, store = 0, admin = 0] = await freePorts(3);
  const ports = { pd, store, admin };
  const folder = join(run.data, 'envoy');
  await mkdir(folder, { recursive: true });
  const config = join(folder, 'envoy.json');
  const { node, before, wasmPath = binaries.wasm, isReloaded = true } = around;
  const inline = { wasmPath, pluginConfig, isReloaded, ...(before ? { before } : {}) };
  const { filter, configure } = watchedFilter(inline, join(folder, 'filter.json'));
  if (watched) await configure(pluginConfig);
  const bootstrap = envoyBootstrap({
    ports,
    upstream: { pd: upstream.httpPort, store: upstream.grpcPort },
    certs: certs.server,
    accessLog: join(run.logs, 'envoy-access.log'),
    filter: watched ? filter : inline,
    ...(node ? { node } : {}),
  });
  await writeFile(config, JSON.stringify(bootstrap));
  const envoy = await run.spawn({
    name: 'envoy',
    command: binaries.envoy,
    args: [
      ...['--config-path', config, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'warning'],
      ...['--component-log-level', 'wasm:info'],
      ...['--file-flush-interval-msec', '50'],
      ...['--service-node', 'test', '--service-cluster', 'test'],
    ],
  });
  return { run, envoy, ports, certs, upstream, configure };
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

export async function startMesh(
  more: Record<string, unknown> = {},
  watched = false,
  around: Around = {},
): Promise<Mesh> {
  const standard = { ...standardPluginConfig(TENANTS), ...more };
  const { run, envoy, ports, certs, upstream, configure } = await startEnvoy(standard, watched, around);
  await waitHealthy(envoy, 'readiness', 30_000, async () => {
    const response = await fetch(`http://127.0.0.1:${ports.admin}/ready`);
    return response.ok ? true : undefined;
  });
  const callers: Caller[] = [];
  const callerOf =
    (port: number) =>
    (files: CertFiles): Caller => {
      const made = new Caller(port, files);
      callers.push(made);
      return made;
    };
  const caller = callerOf(ports.store);
  return {
    upstream,
    configure,
    certs,
    httpAddress: `127.0.0.1:${ports.pd}`,
    admin: `127.0.0.1:${ports.admin}`,
    run,
    storePort: ports.store,
    envoyPid: envoy.pid,
    logPath: envoy.logPath,
    alpha: caller(await certs.client(principalOf('alpha'))),
    beta: caller(await certs.client(principalOf('beta'))),
    caller,
    httpCaller: callerOf(ports.pd),
    async accesses() {
      const lines = (await readFile(join(run.logs, 'envoy-access.log'), 'utf8')).split('\n');
      return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, string>);
    },
    async prometheus() {
      return (await fetch(`http://127.0.0.1:${ports.admin}/stats/prometheus`)).text();
    },
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
