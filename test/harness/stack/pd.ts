/** PD: one member or a cluster of several, each behind a network that can be broken. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Link, portsOf } from './link.ts';
import { freePorts } from './ports.ts';
import { waitHealthy, type Run, type ServerProcess } from './processes.ts';

const HOST = '127.0.0.1';
const START_TIMEOUT = 60_000;
/** It may panic before it serves, where its etcd is slow to start (initGRPCServiceLabels in PD's server.go). A supervisor starts it again. */
const MOST_TRIES = 3;
/** How long a PD may take to end, ms. It often hangs in its etcd then, and nobody reads the data of a run that has ended. */
export const PD_GRACE = 3000;

/** One PD. */
export interface PdMember {
  readonly name: string;
  /** PD itself, past its link, `http://host:port`. */
  readonly directUrl: string;
  /** As clients see it, `host:port`: Envoy's listener, or what stands for it without a mesh. */
  readonly meshAddress: string;
  readonly logPath: string;
  readonly pid: number;
  kill(): Promise<void>;
  /** Starts it again; resolves when it knows a leader. */
  start(): Promise<void>;
  /** Kills it, and starts it again on the same ports. */
  restart(): Promise<void>;
  pause(): void;
  resume(): void;
  /** Holds all bytes between it and everybody else. Only where there are several members. */
  isolate(): void;
  rejoin(): void;
  /** What stands between it and its clients; undefined for a single member. */
  readonly link: Link | undefined;
}

export interface PdPorts {
  /** What others dial: Envoy's upstream, or the clients. Of the link where there are several members. */
  readonly entry: number;
  /** What clients are told. */
  readonly advertised: string;
}

/** Starts all members at once; resolves when they know their leader. `settings` are lines of TOML in front of the sections. */
export async function startPds(
  run: Run,
  binary: string,
  entries: readonly PdPorts[],
  settings = '',
): Promise<PdMember[]> {
  const isCluster = entries.length > 1;
  const parts = await Promise.all(
    entries.map(async ({ entry, advertised }, i) => {
      const [own = 0, peer = 0, peerLink = 0] = await freePorts(3);
      return {
        name: isCluster ? `pd-${i + 1}` : 'pd',
        advertised,
        client: isCluster ? own : entry,
        peer,
        peerUrl: `http://${HOST}:${isCluster ? peerLink : peer}`,
        links: isCluster ? [await Link.open(entry, own), await Link.open(peerLink, peer)] : [],
      };
    }),
  );
  const initial = parts.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(',');
  return Promise.all(
    parts.map(async ({ name, advertised, client, peer, peerUrl, links }) => {
      const folder = join(run.data, name);
      await mkdir(folder, { recursive: true });
      const config = join(folder, 'pd.toml');
      await writeFile(config, `${settings}\n[replication]\nmax-replicas = 1\n`);
      const directUrl = `http://${HOST}:${client}`;
      let server!: ServerProcess;
      const startOnce = async (): Promise<void> => {
        server = await run.spawn({
          name,
          command: binary,
          args: [
            `--name=${name}`,
            `--config=${config}`,
            `--data-dir=${join(folder, 'data')}`,
            `--client-urls=${directUrl}`,
            `--advertise-client-urls=http://${advertised}`,
            `--peer-urls=http://${HOST}:${peer}`,
            `--advertise-peer-urls=${peerUrl}`,
            `--initial-cluster=${initial}`,
          ],
          // The etcd inside panics on the patterns of newer routers.
          env: { GODEBUG: 'httpmuxgo121=1' },
          grace: PD_GRACE,
        });
        await waitHealthy(server, 'leader', START_TIMEOUT, async () => {
          const response = await fetch(`${directUrl}/pd/api/v1/leader`);
          return response.ok && ((await response.json()) as { name?: string }).name ? true : undefined;
        });
      };
      const start = async (triesLeft = MOST_TRIES - 1): Promise<void> => {
        try {
          await startOnce();
        } catch (error) {
          if (!server.exit || triesLeft === 0) throw error;
          await start(triesLeft - 1);
        }
      };
      await start();
      return {
        name,
        directUrl,
        meshAddress: advertised,
        get logPath() {
          return server.logPath;
        },
        get pid() {
          return server.pid;
        },
        kill: () => server.kill(),
        start: () => start(),
        async restart() {
          await server.kill();
          await start();
        },
        link: links[0],
        pause: () => void process.kill(server.pid, 'SIGSTOP'),
        resume: () => void process.kill(server.pid, 'SIGCONT'),
        isolate() {
          for (const link of links) link.hold();
          // What it dials itself goes through the others' links.
          const isItsOwn = dialledBy(server.pid);
          for (const other of parts)
            if (other.name !== name) for (const link of other.links) link.hold(isItsOwn);
        },
        rejoin() {
          for (const other of parts) for (const link of other.links) link.free();
        },
      };
    }),
  );
}

/** Tells for ports if this process dialled from them; looks each up once. */
function dialledBy(pid: number): (from: number) => boolean {
  const known = new Map<number, boolean>();
  return (from) => {
    const found = known.get(from) ?? portsOf(pid).has(from);
    known.set(from, found);
    return found;
  };
}

/** The member that leads, as most of them see it; undefined while there is none. */
export async function leaderOf(members: readonly PdMember[]): Promise<PdMember | undefined> {
  const votes = await Promise.all(
    members.map(async ({ directUrl }) => {
      try {
        const response = await fetch(`${directUrl}/pd/api/v1/leader`, { signal: AbortSignal.timeout(1000) });
        return response.ok ? ((await response.json()) as { name?: string }).name : undefined;
      } catch {
        return undefined;
      }
    }),
  );
  return members.find(({ name }) => votes.filter((vote) => vote === name).length * 2 > members.length);
}
