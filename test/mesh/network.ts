/**
 * Pods without a container runtime: a network and a mount namespace each, joined by a bridge that lives in a namespace
 * of its own. The kernel removes all of it when the processes that hold the namespaces end.
 *
 *     this machine 10.x.y.1 ──veth── bridge ──veth── pod 10.x.y.10
 *                                       └─────veth── pod 10.x.y.11
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { waitHealthy, type Run, type ServerProcess, type SpawnOptions } from '../harness/stack/processes.ts';

/** Group of the sidecars' processes: iptables lets their connections out. Istio's own images use the same number as a user. */
export const PROXY_GROUP = 1337;

export interface Pod {
  readonly name: string;
  readonly ip: string;
  /** A run whose processes start inside this pod. */
  readonly run: Run;
  /** The same, for processes that iptables does not redirect. */
  readonly proxyRun: Run;
  /** Runs a command in the pod to its end and gives its standard output. Throws with its error output. */
  exec(command: string, ...args: string[]): string;
}

export interface Network {
  /** This machine's address there. */
  readonly gateway: string;
  /** Addresses of Services, as kube-apiserver wants them. Nothing answers there: iptables redirects what goes there. */
  readonly serviceRange: string;
  pod(name: string): Promise<Pod>;
  /** Names that all pods know, in addition to those given before. */
  addHosts(entries: { ip: string; names: string[] }[]): void;
  /** The n-th address of the Services. */
  serviceIp(index: number): string;
}

const FIRST_POD = 10;

/** A network of 254 addresses that this machine does not use yet. */
export async function startNetwork(run: Run): Promise<Network> {
  const [a, b] = freeBlock();
  const gateway = `10.${a}.${b}.1`;
  const hostsPath = join(run.data, 'hosts');
  const resolverPath = join(run.data, 'resolv.conf');
  const hosts = [{ ip: '127.0.0.1', names: ['localhost'] }];
  // Written in place: the pods see this very file.
  const writeHosts = (): void =>
    writeFileSync(hostsPath, hosts.map(({ ip, names }) => `${ip} ${names.join(' ')}\n`).join(''));
  writeHosts();
  await writeFile(resolverPath, 'options ndots:1\n');

  const outside = `tm-${a}-${b}`;
  const node = await run.spawn({ name: 'network', command: 'unshare', args: ['--net', 'sleep', 'infinity'] });
  await entered(node, '--net');
  const inNode = (...args: string[]): string => nsenter(node, ['--net'], 'ip', args);
  inNode('link', 'add', 'bridge0', 'type', 'bridge');
  inNode('link', 'set', 'bridge0', 'up');
  inNode('link', 'add', 'up0', 'type', 'veth', 'peer', 'name', outside);
  inNode('link', 'set', 'up0', 'master', 'bridge0', 'up');
  inNode('link', 'set', outside, 'netns', String(process.pid));
  execute('ip', ['addr', 'add', `${gateway}/24`, 'dev', outside]);
  execute('ip', ['link', 'set', outside, 'up']);

  let pods = 0;
  return {
    gateway,
    serviceRange: `10.${a}.${b + 1}.0/24`,
    serviceIp: (index) => `10.${a}.${b + 1}.${index}`,
    addHosts(entries) {
      hosts.push(...entries);
      writeHosts();
    },
    async pod(name) {
      const number = FIRST_POD + pods++;
      const ip = `10.${a}.${b}.${number}`;
      const mounts = [
        `mount --bind ${hostsPath} /etc/hosts`,
        `mount --bind ${resolverPath} /etc/resolv.conf`,
        // Where Istio's agent keeps what it fetches.
        'mount -t tmpfs tmpfs /var/lib',
        'mkdir -p /var/lib/istio/data',
      ].join(' && ');
      const holder = await run.spawn({
        name: `pod-${name}`,
        command: 'unshare',
        args: [
          '--net',
          '--mount',
          '--propagation',
          'private',
          'sh',
          '-c',
          `${mounts} && exec sleep infinity`,
        ],
      });
      await entered(holder, '--net', '--mount');
      const namespaces = ['--net', '--mount'];
      const inPod = (...args: string[]): string => nsenter(holder, namespaces, 'ip', args);
      inNode(
        'link',
        'add',
        `pod${number}`,
        'type',
        'veth',
        'peer',
        'name',
        'eth0',
        'netns',
        String(holder.pid),
      );
      inNode('link', 'set', `pod${number}`, 'master', 'bridge0', 'up');
      inPod('link', 'set', 'lo', 'up');
      inPod('addr', 'add', `${ip}/24`, 'dev', 'eth0');
      inPod('link', 'set', 'eth0', 'up');
      inPod('route', 'add', 'default', 'via', gateway);
      const enter = ['--target', String(holder.pid), ...namespaces];
      return {
        name,
        ip,
        run: within(run, enter),
        proxyRun: within(run, [...enter, '--setgid', String(PROXY_GROUP)]),
        exec: (command, ...args) => nsenter(holder, namespaces, command, args),
      };
    },
  };
}

/** A run whose processes are started through nsenter, which becomes them. */
function within(run: Run, enter: string[]): Run {
  return {
    folder: run.folder,
    logs: run.logs,
    data: run.data,
    spawn(options: SpawnOptions) {
      // A folder that was entered before the namespace would have no path in it.
      const start = ['env', `--chdir=${options.cwd ?? process.cwd()}`, options.command];
      return run.spawn({
        ...options,
        command: 'nsenter',
        args: [...enter, '--', ...start, ...options.args],
      });
    },
    end: () => run.end(),
  };
}

/** Waits until the holder has left this process' namespaces and come to its last command. */
async function entered(holder: ServerProcess, ...namespaces: string[]): Promise<void> {
  await waitHealthy(holder, 'namespaces', 10_000, async () => {
    const done = spawnSync(
      'nsenter',
      ['--target', String(holder.pid), ...namespaces, 'cat', `/proc/${holder.pid}/comm`],
      { encoding: 'utf8' },
    );
    return Promise.resolve(done.stdout.trim() === 'sleep' ? true : undefined);
  });
}

function nsenter(holder: ServerProcess, namespaces: string[], command: string, args: string[]): string {
  return execute('nsenter', ['--target', String(holder.pid), ...namespaces, '--', command, ...args]);
}

function execute(command: string, args: string[]): string {
  const done = spawnSync(command, args, { encoding: 'utf8' });
  if (done.status !== 0)
    throw new Error(`${command} ${args.join(' ')}: ${done.stderr || String(done.error ?? done.status)}`);
  return done.stdout;
}

/** `[a, b]` with b even: 10.a.b.0/24 is for pods and 10.a.b+1.0/24 for Services. */
function freeBlock(): [number, number] {
  const used = Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).map(({ address }) => address),
  );
  for (;;) {
    const a = 64 + Math.floor(Math.random() * 128);
    const b = 2 * Math.floor(Math.random() * 127);
    if (!used.some((address) => address.startsWith(`10.${a}.`))) return [a, b];
  }
}
