/** Envoy as a service of systemd. */
import { posix } from 'node:path';
import { comment } from '../manifests/file.ts';
import { STDOUT, type EnvoyMesh, type Storage } from './mesh.ts';

/** How long Envoy asks its clients to go before it ends. */
export const DRAIN_SECONDS = 15;

export function systemdUnit(
  { folder, accessLog, certificates }: EnvoyMesh,
  { name, admin }: Storage,
): string {
  const config = posix.join(folder, name, 'envoy.yaml');
  const envoy = `/usr/local/bin/envoy --config-path ${config}`;
  const log = accessLog === STDOUT ? [] : [`ReadWritePaths=${posix.dirname(accessLog)}`];
  const agent = 'sds' in certificates ? ['After=spire-agent.service'] : [];
  const header = comment([
    `Envoy in front of storage "${name}". Make the user tidb-mesh, who must be able to read the certificates.`,
    'Rendered by `tidb-mesh render` from the mesh file. Edit it with: systemctl edit',
  ]);
  return `${header}[Unit]
Description=TiDB Mesh: Envoy in front of storage ${name}
Wants=network-online.target
After=network-online.target
${lines(agent)}
[Service]
User=tidb-mesh
ExecStartPre=${envoy} --mode validate
ExecStart=${envoy} --disable-hot-restart --drain-time-s ${DRAIN_SECONDS} --log-level warning --component-log-level wasm:info
# Asks clients to go to another Envoy. TiDB connects anew by itself.
ExecStop=-/usr/bin/curl --silent --show-error --request POST "http://127.0.0.1:${admin}/drain_listeners?graceful"
ExecStop=-/usr/bin/sleep ${DRAIN_SECONDS}
TimeoutStopSec=${2 * DRAIN_SECONDS + 30}
Restart=always
RestartSec=1
LimitNOFILE=1048576
NoNewPrivileges=yes
CapabilityBoundingSet=
PrivateDevices=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
${lines(log)}RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK

[Install]
WantedBy=multi-user.target
`;
}

const lines = (some: readonly string[]): string => some.map((line) => `${line}\n`).join('');
