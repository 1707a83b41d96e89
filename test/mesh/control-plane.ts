/** A real control plane on this machine: etcd, kube-apiserver and istiod, without a node or a controller. */
import { execFile } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ControlPlaneBinaries } from '../harness/stack/builds.ts';
import { freePorts } from '../harness/stack/ports.ts';
import { waitHealthy, type Run, type ServerProcess } from '../harness/stack/processes.ts';
import type { Progress } from '../harness/stack/progress.ts';
import type { Network } from './network.ts';

export const ISTIO_NAMESPACE = 'istio-system';
export const TRUST_DOMAIN = 'cluster.local';
/** Where istiod is found from within pods. */
export const ISTIOD_NAME = `istiod.${ISTIO_NAMESPACE}.svc`;

export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

export interface ControlPlane {
  readonly kubeconfig: string;
  /** What istiod has logged. */
  istiodLog(): string;
  /** istiod's own debug pages, `http://host:port`. */
  readonly istiodUrl: string;
  /** kubectl with these arguments, and with `input` as its standard input. Throws with what it says. */
  kubectl(args: string[], input?: string): Promise<string>;
  /** The same for a command that may fail. */
  tryKubectl(args: string[], input?: string): Promise<Outcome>;
  istioctl(args: string[], input?: string): Promise<Outcome>;
}

/** What a sidecar notes of each request, and of each connection that is none. */
const ACCESS_LOG = {
  start: '%START_TIME%',
  milliseconds: '%DURATION%',
  principal: '%DOWNSTREAM_PEER_URI_SAN%',
  to: '%DOWNSTREAM_LOCAL_ADDRESS%',
  from: '%DOWNSTREAM_REMOTE_ADDRESS%',
  protocol: '%PROTOCOL%',
  method: '%REQ(:METHOD)%',
  path: '%REQ(:PATH)%',
  status: '%RESPONSE_CODE%',
  flags: '%RESPONSE_FLAGS%',
  details: '%RESPONSE_CODE_DETAILS%',
  ended: '%CONNECTION_TERMINATION_DETAILS%',
  cluster: '%UPSTREAM_CLUSTER%',
};

const HOST = '127.0.0.1';
const VALIDATION_PORT = 15017;
const VALIDATION_NAME = 'istio-validator-istio-system';
const REVISION = 'default';
const START_TIMEOUT = 120_000;

/** Starts it all, applies Istio's resource types, and waits until istiod is ready. */
export async function startControlPlane(
  run: Run,
  binaries: ControlPlaneBinaries,
  network: Network,
  progress: Progress,
): Promise<ControlPlane> {
  const folder = join(run.data, 'control-plane');
  await mkdir(folder, { recursive: true });
  const [etcdPort, etcdPeerPort, apiPort] = (await freePorts(3)) as [number, number, number];
  const kubeconfig = join(folder, 'kubeconfig');
  const tryKubectl = (args: string[], input?: string): Promise<Outcome> =>
    execute(binaries.kubectl, ['--kubeconfig', kubeconfig, ...args], input);
  const kubectl = async (args: string[], input?: string): Promise<string> => {
    const done = await tryKubectl(args, input);
    if (done.status !== 0) throw new Error(`kubectl ${args.join(' ')}: ${done.stderr || done.stdout}`);
    return done.stdout;
  };
  let apiserver!: ServerProcess;
  let istiodLogPath = '';

  await progress.run([
    {
      title: 'Start etcd',
      async run() {
        const etcd = await run.spawn({
          name: 'etcd',
          command: binaries.etcd,
          args: [
            `--data-dir=${join(folder, 'etcd')}`,
            `--listen-client-urls=http://${HOST}:${etcdPort}`,
            `--advertise-client-urls=http://${HOST}:${etcdPort}`,
            `--listen-peer-urls=http://${HOST}:${etcdPeerPort}`,
            `--initial-advertise-peer-urls=http://${HOST}:${etcdPeerPort}`,
            `--initial-cluster=default=http://${HOST}:${etcdPeerPort}`,
            // Nothing of a test is worth a wait for the disk.
            '--unsafe-no-fsync',
          ],
        });
        await waitHealthy(etcd, 'health', START_TIMEOUT, async () => {
          const response = await fetch(`http://${HOST}:${etcdPort}/health`);
          await response.arrayBuffer();
          return response.ok ? true : undefined;
        });
      },
    },
    {
      title: 'Start kube-apiserver',
      async run() {
        const token = randomBytes(16).toString('hex');
        const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
        const accountKey = join(folder, 'service-accounts.key');
        await writeFile(accountKey, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
        const tokens = join(folder, 'tokens.csv');
        await writeFile(tokens, `${token},admin,admin,system:masters\n`, { mode: 0o600 });
        await writeFile(kubeconfig, kubeconfigText(`https://${HOST}:${apiPort}`, token), { mode: 0o600 });
        apiserver = await run.spawn({
          name: 'kube-apiserver',
          command: binaries.apiserver,
          args: [
            `--etcd-servers=http://${HOST}:${etcdPort}`,
            `--bind-address=${HOST}`,
            `--secure-port=${apiPort}`,
            `--cert-dir=${join(folder, 'apiserver')}`,
            `--token-auth-file=${tokens}`,
            '--authorization-mode=RBAC',
            '--service-account-issuer=https://kubernetes.default.svc',
            `--service-account-signing-key-file=${accountKey}`,
            `--service-account-key-file=${accountKey}`,
            `--service-cluster-ip-range=${network.serviceRange}`,
            // It would look for an address of this machine that other nodes can reach.
            `--advertise-address=${network.gateway}`,
            '--endpoint-reconciler-type=none',
            // It calls istiod's validation where istiod listens: there is no kube-proxy that would lead it there.
            '--enable-aggregator-routing=true',
          ],
          cwd: folder,
        });
        await waitHealthy(apiserver, 'readiness', START_TIMEOUT, async () =>
          (await tryKubectl(['get', '--raw', '/readyz'])).status === 0 ? true : undefined,
        );
      },
    },
    {
      title: "Apply Istio's resource types",
      async run() {
        await kubectl(['apply', '--server-side', '-f', binaries.istioCrds]);
        // kubectl does not wait for one that has no conditions at all yet: it fails.
        await waitHealthy(apiserver, "Istio's resource types", START_TIMEOUT, async () => {
          const wait = ['wait', '--for=condition=Established', 'crd', '--all', '--timeout=20s'];
          return (await tryKubectl(wait)).status === 0 ? true : undefined;
        });
        await kubectl(['create', 'namespace', ISTIO_NAMESPACE]);
        await kubectl(
          ['apply', '--server-side', '-f', '-'],
          JSON.stringify({ apiVersion: 'v1', kind: 'List', items: validation(network.gateway) }),
        );
      },
    },
    {
      title: 'Start istiod',
      async run() {
        const home = join(folder, 'istiod');
        await mkdir(join(home, 'etc/istio/config'), { recursive: true });
        await writeFile(join(home, 'etc/istio/config/mesh'), JSON.stringify(meshConfig()));
        const istiod = await run.spawn({
          name: 'istiod',
          command: binaries.istiod,
          args: [
            'discovery',
            `--kubeconfig=${kubeconfig}`,
            `--httpAddr=${network.gateway}:8080`,
            `--httpsAddr=${network.gateway}:${VALIDATION_PORT}`,
            `--grpcAddr=${network.gateway}:15010`,
            `--secureGRPCAddr=${network.gateway}:15012`,
            `--monitoringAddr=${network.gateway}:15014`,
            '--ctrlz_port=0',
            '--shutdownDuration=1s',
          ],
          env: {
            POD_NAME: 'istiod-0',
            POD_NAMESPACE: ISTIO_NAMESPACE,
            CLUSTER_ID: 'Kubernetes',
            // As Istio installs it; it looks after the webhooks of its own revision only.
            REVISION,
            CLOUD_PLATFORM: 'none',
            ENABLE_LEADER_ELECTION: 'false',
            PILOT_ENABLE_GATEWAY_API: 'false',
            // Envoy itself has none of the filters of Istio's own build; these would make it refuse every listener.
            PILOT_ENABLE_METADATA_EXCHANGE: 'false',
          },
          cwd: home,
        });
        istiodLogPath = istiod.logPath;
        await waitHealthy(istiod, 'readiness', START_TIMEOUT, async () => {
          const response = await fetch(`http://${network.gateway}:8080/ready`);
          await response.arrayBuffer();
          return response.ok ? true : undefined;
        });
        // istiod itself turns it from Ignore to Fail, once it serves.
        // It tries again at intervals that double, up to a minute.
        await kubectl([
          ...['wait', `validatingwebhookconfiguration/${VALIDATION_NAME}`, '--timeout=180s'],
          '--for=jsonpath={.webhooks[0].failurePolicy}=Fail',
        ]);
      },
    },
  ]);
  network.addHosts([{ ip: network.gateway, names: [ISTIOD_NAME] }]);

  return {
    kubeconfig,
    istiodLog: () => readFileSync(istiodLogPath, 'utf8'),
    istiodUrl: `http://${network.gateway}:8080`,
    kubectl,
    tryKubectl,
    istioctl: (args, input) => execute(binaries.istioctl, ['--kubeconfig', kubeconfig, ...args], input),
  };
}

/** What makes the API server ask istiod before it takes one of Istio's objects. */
function validation(address: string): object[] {
  const metadata = { namespace: ISTIO_NAMESPACE, name: 'istiod' };
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { ports: [{ name: 'https-webhook', port: 443, targetPort: VALIDATION_PORT }] },
    },
    {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata,
      subsets: [{ addresses: [{ ip: address }], ports: [{ name: 'https-webhook', port: VALIDATION_PORT }] }],
    },
    {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: VALIDATION_NAME, labels: { app: 'istiod', 'istio.io/rev': REVISION } },
      webhooks: [
        {
          name: 'rev.validation.istio.io',
          clientConfig: { service: { name: 'istiod', namespace: ISTIO_NAMESPACE, path: '/validate' } },
          rules: [
            {
              operations: ['CREATE', 'UPDATE'],
              apiGroups: ['security.istio.io', 'networking.istio.io', 'extensions.istio.io'],
              apiVersions: ['*'],
              resources: ['*'],
            },
          ],
          failurePolicy: 'Ignore',
          sideEffects: 'None',
          admissionReviewVersions: ['v1'],
        },
      ],
    },
  ];
}

function meshConfig(): object {
  return {
    trustDomain: TRUST_DOMAIN,
    // A file in each agent's own folder.
    accessLogFile: 'access.log',
    accessLogEncoding: 'JSON',
    accessLogFormat: JSON.stringify(ACCESS_LOG),
    // istio.stats is a filter of Istio's own build of Envoy.
    defaultProviders: { metrics: [] },
    enablePrometheusMerge: false,
    defaultConfig: { discoveryAddress: `${ISTIOD_NAME}:15012` },
  };
}

function kubeconfigText(server: string, token: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'admin', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    'current-context': 'test',
  });
}

function execute(command: string, args: string[], input?: string): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { maxBuffer: 256 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') reject(error);
      else resolve({ status: error ? Number(error.code) : 0, stdout, stderr });
    });
    child.stdin?.end(input ?? '');
  });
}
