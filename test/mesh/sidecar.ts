/** A pod's sidecar: Istio's own agent, which fetches the certificates, and Envoy behind iptables. */
import { readFileSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ControlPlaneBinaries } from '../harness/stack/builds.ts';
import type { CertFiles } from '../harness/stack/certs.ts';
import { waitHealthy, type ServerProcess } from '../harness/stack/processes.ts';
import { ISTIOD_NAME, TRUST_DOMAIN, type ControlPlane } from './control-plane.ts';
import { PROXY_GROUP, type Pod } from './network.ts';
import { INJECTED_LABELS } from './objects.ts';
import { SHOWN_PREFIXES } from '../../src-ts/manifests/example-parts.ts';
import { METRIC_LABELS } from '../../src-ts/observability/metrics.ts';

/** The cluster of ports without a chain of their own; a test counts its bytes. */
const PASSTHROUGH = 'cluster.InboundPassthroughClusterIpv4';

export interface SidecarOptions {
  namespace: string;
  serviceAccount: string;
  labels: Record<string, string>;
  /** Ports that iptables leaves alone: what a test wants to reach past the sidecar. */
  excludeInboundPorts?: number[];
  envoy: string;
  binaries: ControlPlaneBinaries;
  /** Envoy's log level, for example `warning,wasm:debug`. */
  log?: string;
}

/** See control-plane.ts for what the fields hold. */
export interface AccessLogEntry {
  start: string;
  milliseconds: number;
  principal: string | null;
  /** `address:port` of the caller. */
  from: string;
  protocol: string | null;
  path: string | null;
  status: number;
  flags: string;
  details: string | null;
  ended: string | null;
  cluster: string | null;
}

export interface Sidecar {
  /** What the agent and Envoy have logged. */
  log(): string;
  /** What the access log has so far; Envoy writes it once a second. */
  accessLog(): AccessLogEntry[];
  readonly process: ServerProcess;
  /** The workload's own certificate, as istiod signed it. Its name is a SPIFFE URI; it has no host names. */
  readonly certs: CertFiles;
  /** What Envoy's administration port answers to a GET. */
  admin(path: string): string;
  /** Values of all statistics whose name matches. */
  stats(pattern: RegExp): Map<string, number>;
}

const START_TIMEOUT = 60_000;
const OUTBOUND_PORT = 15001;
const INBOUND_PORT = 15006;
const STATUS_PORT = 15021;
/** Ports of Envoy and the agent that are meant to be reached from outside. */
const OWN_PORTS = [15020, STATUS_PORT, 15090];

export async function startSidecar(
  controlPlane: ControlPlane,
  pod: Pod,
  options: SidecarOptions,
): Promise<Sidecar> {
  const home = join(pod.run.data, 'sidecars', pod.name);
  const write = async (path: string, text: string): Promise<void> => {
    await mkdir(join(home, path, '..'), { recursive: true });
    await writeFile(join(home, path), text, { mode: 0o600 });
  };
  const { namespace, serviceAccount } = options;
  // What a kubelet would mount into the sidecar's container.
  await write(
    'var/run/secrets/tokens/istio-token',
    (
      await controlPlane.kubectl(['create', 'token', serviceAccount, '-n', namespace, '--audience=istio-ca'])
    ).trim(),
  );
  await write('var/run/secrets/istio/root-cert.pem', await rootCertificate(controlPlane, namespace));
  await write(
    'etc/istio/pod/labels',
    Object.entries({ ...options.labels, ...INJECTED_LABELS })
      .map(([name, value]) => `${name}=${JSON.stringify(value)}\n`)
      .join(''),
  );
  await mkdir(join(home, 'certs'), { recursive: true });
  // The agent starts Envoy itself and would leave it behind when it is killed.
  const starter = join(home, 'envoy');
  await write('envoy', `#!/bin/sh\nexec setpriv --pdeathsig KILL ${options.envoy} "$@"\n`);
  await chmod(starter, 0o755);

  const excluded = [...OWN_PORTS, ...(options.excludeInboundPorts ?? [])];
  // What the injected init container does.
  pod.exec(
    options.binaries.agent,
    'istio-iptables',
    ...['-p', String(OUTBOUND_PORT), '-z', String(INBOUND_PORT), '-m', 'REDIRECT'],
    ...['-u', String(PROXY_GROUP), '-g', String(PROXY_GROUP)],
    ...['-i', '*', '-x', '', '-b', '*', '-d', excluded.join(',')],
  );

  const agent = await pod.proxyRun.spawn({
    name: `sidecar-${pod.name}`,
    command: options.binaries.agent,
    args: [
      'proxy',
      'sidecar',
      `--domain=${namespace}.svc.cluster.local`,
      `--templateFile=${options.binaries.envoyTemplate}`,
      `--proxyLogLevel=${options.log ?? 'warning,misc:error'}`,
      '--log_output_level=default:info',
    ],
    env: {
      POD_NAME: pod.name,
      POD_NAMESPACE: namespace,
      INSTANCE_IP: pod.ip,
      SERVICE_ACCOUNT: serviceAccount,
      TRUST_DOMAIN,
      CA_ADDR: `${ISTIOD_NAME}:15012`,
      PILOT_CERT_PROVIDER: 'istiod',
      CLOUD_PLATFORM: 'none',
      // An extension of Istio's own build of Envoy.
      PEER_METADATA_DISCOVERY: 'false',
      // A registry of a test has no certificate.
      WASM_INSECURE_REGISTRIES: '*',
      OUTPUT_CERTS: './certs',
      ISTIO_META_CLUSTER_ID: 'Kubernetes',
      ISTIO_META_INTERCEPTION_MODE: 'REDIRECT',
      ISTIO_META_WORKLOAD_NAME: pod.name.replace(/-\d+$/, ''),
      ISTIO_META_MESH_ID: TRUST_DOMAIN,
      PROXY_CONFIG: JSON.stringify({
        binaryPath: starter,
        configPath: './etc/istio/proxy',
        discoveryAddress: `${ISTIOD_NAME}:15012`,
        terminationDrainDuration: '1s',
        concurrency: 2,
        // As the annotation of the rendered examples has it.
        extraStatTags: METRIC_LABELS,
        // As that annotation has it. So a metric that users do not get is missed here, too.
        proxyStatsMatcher: { inclusionPrefixes: [...SHOWN_PREFIXES, PASSTHROUGH] },
      }),
    },
    cwd: home,
  });
  await waitHealthy(agent, 'readiness', START_TIMEOUT, async () => {
    const response = await fetch(`http://${pod.ip}:${STATUS_PORT}/healthz/ready`);
    await response.arrayBuffer();
    return response.ok ? true : undefined;
  });
  const admin = (path: string): string => pod.exec(options.binaries.agent, 'request', 'GET', path);
  return {
    log: () => readFileSync(agent.logPath, 'utf8'),
    accessLog: () =>
      readFileSync(join(home, 'access.log'), 'utf8')
        .split('\n')
        .filter((line) => line.endsWith('}'))
        .map((line) => JSON.parse(line) as AccessLogEntry),
    process: agent,
    certs: {
      ca: join(home, 'certs/root-cert.pem'),
      cert: join(home, 'certs/cert-chain.pem'),
      key: join(home, 'certs/key.pem'),
    },
    admin,
    stats(pattern) {
      const found = new Map<string, number>();
      for (const line of admin('stats').split('\n')) {
        const colon = line.lastIndexOf(': ');
        const name = line.slice(0, colon);
        const value = Number(line.slice(colon + 2));
        if (colon > 0 && !Number.isNaN(value) && pattern.test(name)) found.set(name, value);
      }
      return found;
    },
  };
}

/** istiod writes its authority's certificate into every namespace, some time after the namespace is made. */
async function rootCertificate(controlPlane: ControlPlane, namespace: string): Promise<string> {
  const deadline = Date.now() + START_TIMEOUT;
  for (;;) {
    const { status, stdout, stderr } = await controlPlane.tryKubectl([
      ...['get', 'configmap', 'istio-ca-root-cert', '-n', namespace],
      ...['-o', 'jsonpath={.data.root-cert\\.pem}'],
    ]);
    if (status === 0 && stdout.includes('BEGIN CERTIFICATE')) return stdout;
    if (Date.now() > deadline) throw new Error(`no root certificate in namespace ${namespace}: ${stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
