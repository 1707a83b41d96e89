/** What this machine must have for pods without a container runtime: namespaces, and iptables as Istio uses it. */
import { spawnSync } from 'node:child_process';

/** Why a mesh cannot be started here; undefined when it can. Installs Debian's iptables where that is all that lacks. */
export function lacking(): string | undefined {
  if (process.platform !== 'linux') return 'pods are made of Linux namespaces';
  if (process.getuid?.() !== 0) return 'making network namespaces needs root';
  for (const tool of ['unshare', 'nsenter', 'setpriv', 'mount'])
    if (!runs(tool, ['--version'])) return `${tool} is not installed (Debian: apt-get install util-linux)`;
  if (!runs('ip', ['-V'])) return 'ip is not installed (Debian: apt-get install iproute2)';
  if (!runs('unshare', ['--net', '--mount', 'true'])) return 'this machine does not allow new namespaces';
  if (!runs('unshare', ['--net', 'ip', 'link', 'add', 'probe0', 'type', 'veth', 'peer', 'name', 'probe1']))
    return 'this kernel has no veth devices';
  if (!runs('iptables-save', ['--version'])) {
    console.log('iptables is not installed: trying apt-get install -y iptables');
    spawnSync('apt-get', ['install', '-q', '-y', '--no-install-recommends', 'iptables'], { stdio: 'ignore' });
    if (!runs('iptables-save', ['--version']))
      return 'iptables could not be installed (Debian: apt-get install iptables)';
  }
  const rule = 'iptables -t nat -A OUTPUT -p tcp -m owner --gid-owner 1337 -j REDIRECT --to-ports 1';
  if (!runs('unshare', ['--net', 'sh', '-c', rule])) return 'this kernel has no REDIRECT for iptables';
  return undefined;
}

function runs(command: string, args: string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}
