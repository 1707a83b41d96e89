/** Compiles proto/ with buf, and returns the descriptors with their options. */
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { createFileRegistry, fromBinary, type FileRegistry } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

const MAX_DESCRIPTOR_BYTES = 64 * 1024 * 1024;

/** The folder of our annotated .proto files. */
export const PROTO_FOLDER = fileURLToPath(new URL('../../proto', import.meta.url));

/**
 * Descriptors of every .proto file below `folder`.
 * @throws Error with the compiler's own message when a file does not compile.
 */
export function readDescriptors(folder: string = PROTO_FOLDER): FileRegistry {
  const buf = createRequire(import.meta.url).resolve('@bufbuild/buf/bin/buf');
  const args = [buf, 'build', folder, '--as-file-descriptor-set', '-o', '-#format=binpb'];
  const bytes = execFileSync(process.execPath, args, {
    maxBuffer: MAX_DESCRIPTOR_BYTES,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, new Uint8Array(bytes)));
}
