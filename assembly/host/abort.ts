import { proxy_log } from '@gcoredev/proxy-wasm-sdk-as/assembly/imports';
import { LogLevel } from './abi';

/** Logs where the code failed. AssemblyScript calls this before a trap. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const where = (file == null ? '?' : file) + ':' + line.toString() + ':' + column.toString();
  const text = String.UTF8.encode('tidb-mesh: trap at ' + where + ': ' + (message == null ? '' : message));
  proxy_log(LogLevel.CRITICAL, changetype<usize>(text), text.byteLength);
  unreachable();
}
