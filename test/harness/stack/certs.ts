import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { secretFiles } from '../../../src-ts/standalone/tls.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY = 24 * 60 * 60 * 1000;

/** PEM files of one certificate. */
export interface CertFiles {
  /** The authority's certificate. */
  ca: string;
  cert: string;
  key: string;
}

export interface Certs {
  folder: string;
  /** Envoy's own: 127.0.0.1 and localhost. Beside it are the files of `secretFiles`. */
  server: CertFiles;
  /** A client's certificate with this URI as its subject alternative name; made once per principal. */
  client(principal: string): Promise<CertFiles>;
}

/** The trust domain of all principals in tests and the demo. */
export const TRUST_DOMAIN = 'demo.mesh';

/** `spiffe://demo.mesh/ns/<namespace>/sa/<account>` */
export function principalOf(namespace: string, account = 'tidb'): string {
  return `spiffe://${TRUST_DOMAIN}/ns/${namespace}/sa/${account}`;
}

/** A new authority in that folder, its server certificate and, on demand, its clients'. EC P-256, valid for a month. */
export async function createCerts(folder: string): Promise<Certs> {
  await mkdir(folder, { recursive: true });
  const authorityKeys = await generateKeys();
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: 'CN=tidb-mesh test authority',
    ...validity(),
    signingAlgorithm: ALGORITHM,
    keys: authorityKeys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(authorityKeys.publicKey),
    ],
  });
  const ca = join(folder, 'ca.pem');
  await writeFile(ca, authority.toString('pem'));

  async function issue(fileName: string, commonName: string, uris: string[]): Promise<CertFiles> {
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject: `CN=${commonName}`,
      issuer: authority.subject,
      ...validity(),
      signingAlgorithm: ALGORITHM,
      publicKey: keys.publicKey,
      signingKey: authorityKeys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        // A TiDB serves its status port with the same certificate that it calls the storage layer with.
        new x509.ExtendedKeyUsageExtension([
          x509.ExtendedKeyUsage.serverAuth,
          x509.ExtendedKeyUsage.clientAuth,
        ]),
        new x509.SubjectAlternativeNameExtension([
          ...uris.map((value) => ({ type: 'url' as const, value })),
          { type: 'ip', value: '127.0.0.1' },
          { type: 'dns', value: 'localhost' },
        ]),
        await x509.AuthorityKeyIdentifierExtension.create(authorityKeys.publicKey),
      ],
    });
    const files = { ca, cert: join(folder, `${fileName}.pem`), key: join(folder, `${fileName}.key`) };
    const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    await writeFile(files.cert, certificate.toString('pem'));
    await writeFile(files.key, x509.PemConverter.encode(pkcs8, 'PRIVATE KEY'), { mode: 0o600 });
    return files;
  }

  const server = await issue('envoy', 'storage', []);
  const secrets = secretFiles({ ca, certificate: server.cert, key: server.key });
  for (const [name, content] of Object.entries(secrets))
    await writeFile(join(folder, name), JSON.stringify(content));
  const clients = new Map<string, Promise<CertFiles>>();
  return {
    folder,
    server,
    client(principal) {
      let files = clients.get(principal);
      if (!files) {
        const name = principal.replace(/^spiffe:\/\//, '').replace(/[^A-Za-z0-9.-]+/g, '_');
        files = issue(`client-${clients.size}-${name}`, 'client', [principal]);
        clients.set(principal, files);
      }
      return files;
    },
  };
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

function serial(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(12));
  // A serial number is a positive integer: the upper bit stays clear and the first byte is not zero.
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}

function validity(): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(Date.now() - DAY), notAfter: new Date(Date.now() + 30 * DAY) };
}
