import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import * as grpc from '@grpc/grpc-js';
import type { CertFiles } from './certs.ts';

export interface GrpcAnswer {
  /** gRPC status code, 0 for OK. */
  code: number;
  /** Its name, for example PERMISSION_DENIED. */
  status: string;
  message: string;
  body: Buffer | undefined;
}

/**
 * One unary call with these bytes as its message, over TLS. Without `cert` and `key` no client certificate is shown.
 * @param path `/package.Service/Method`
 */
export async function callGrpc(
  address: string,
  certs: Pick<CertFiles, 'ca'> & Partial<CertFiles>,
  path: string,
  message: Uint8Array = Buffer.alloc(0),
  options: { deadline?: number; metadata?: Record<string, string> } = {},
): Promise<GrpcAnswer> {
  const credentials = grpc.credentials.createSsl(
    readFileSync(certs.ca),
    certs.key ? readFileSync(certs.key) : null,
    certs.cert ? readFileSync(certs.cert) : null,
  );
  const client = new grpc.Client(address, credentials, {
    'grpc.max_receive_message_length': -1,
    // An address is no server name in TLS; the server's certificate has this one.
    'grpc.ssl_target_name_override': 'localhost',
  });
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value);
  const asIs = (bytes: Buffer): Buffer => bytes;
  try {
    return await new Promise<GrpcAnswer>((resolve) => {
      client.makeUnaryRequest(
        path,
        asIs,
        asIs,
        Buffer.from(message),
        metadata,
        { deadline: Date.now() + (options.deadline ?? 10_000) },
        (error, body) =>
          resolve({
            code: error?.code ?? grpc.status.OK,
            status: grpc.status[error?.code ?? grpc.status.OK] ?? 'UNKNOWN',
            message: error?.details ?? '',
            body,
          }),
      );
    });
  } finally {
    client.close();
  }
}

/** One HTTP/1.1 request over TLS with that certificate. */
export function callHttp(
  address: string,
  certs: CertFiles,
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<{ status: number; body: string }> {
  const { hostname, port } = new URL(`https://${address}`);
  return new Promise((resolve, reject) => {
    const call = request(
      {
        // Not as one URL, which would be normalised: the path goes out as it is given.
        hostname,
        port,
        path,
        method: options.method ?? 'GET',
        headers: options.headers ?? {},
        ca: readFileSync(certs.ca),
        cert: readFileSync(certs.cert),
        key: readFileSync(certs.key),
        servername: 'localhost',
        agent: false,
        timeout: 10_000,
      },
      (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts).toString() }),
        );
        response.on('error', reject);
      },
    );
    call.on('timeout', () => call.destroy(new Error('no answer within 10 s')));
    call.on('error', reject);
    call.end(options.body);
  });
}
