/** mTLS on both sides of Envoy. All certificates are secrets that Envoy takes anew while it runs. */
import { posix } from 'node:path';
import type { Address } from './address.ts';
import { API, type Cluster, type Tls } from './bootstrap.ts';
import type { CertificateFiles, Certificates } from './mesh.ts';

const TLS = `${API}.transport_sockets.tls.v3`;
const SDS_CLUSTER = 'secrets';
/** The names of the secrets in the rendered files. */
const CERTIFICATE = 'certificate';
const AUTHORITY = 'authority';

/** @param folder where Envoy finds the files of `secretFiles` */
export function tlsOf(certificates: Certificates, folder: string): Tls {
  const certificate = secret(certificates, folder, CERTIFICATE);
  const authority = secret(certificates, folder, AUTHORITY);
  const common = {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_2' },
    tls_certificate_sds_secret_configs: [certificate],
  };
  return {
    downstream: {
      '@type': `${TLS}.DownstreamTlsContext`,
      require_client_certificate: true,
      // Each connection shows its certificate anew, so that one that has expired, or whose authority has gone, ends with it.
      disable_stateless_session_resumption: true,
      disable_stateful_session_resumption: true,
      common_tls_context: {
        ...common,
        alpn_protocols: ['h2', 'http/1.1'],
        validation_context_sds_secret_config: authority,
      },
    },
    upstream: (server) => ({
      '@type': `${TLS}.UpstreamTlsContext`,
      ...(server.isIp ? {} : { sni: server.host }),
      common_tls_context: {
        ...common,
        combined_validation_context: {
          default_validation_context: { match_typed_subject_alt_names: [nameOf(server)] },
          validation_context_sds_secret_config: authority,
        },
      },
    }),
    clusters: 'sds' in certificates ? [secretService(certificates.sds.socket)] : [],
  };
}

/** The name that a server's certificate must have. */
function nameOf({ host, isIp }: Address): object {
  return { san_type: isIp ? 'IP_ADDRESS' : 'DNS', matcher: { exact: host } };
}

function secret(certificates: Certificates, folder: string, which: 'certificate' | 'authority'): object {
  if ('sds' in certificates) {
    const service = {
      api_type: 'GRPC',
      transport_api_version: 'V3',
      grpc_services: [{ envoy_grpc: { cluster_name: SDS_CLUSTER } }],
    };
    return {
      name: certificates.sds[which],
      sds_config: v3({ api_config_source: service }),
    };
  }
  return { name: which, sds_config: v3(fileSource(posix.join(folder, `${which}.yaml`))) };
}

const v3 = (source: object): object => ({ ...source, resource_api_version: 'V3' });

/** A file that Envoy reads again when something is moved into its folder. */
export function fileSource(path: string): object {
  return { path_config_source: { path, watched_directory: { path: posix.dirname(path) } } };
}

function secretService(path: string): Cluster {
  return {
    name: SDS_CLUSTER,
    type: 'STATIC',
    connect_timeout: '2s',
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${API}.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
    load_assignment: {
      cluster_name: SDS_CLUSTER,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path } } } }] }],
    },
  };
}

/** What the files of the secrets hold, by their names. Envoy watches the folders of the certificates as well. */
export function secretFiles({ ca, certificate, key }: CertificateFiles): Record<string, object> {
  const watched = (path: string): object => ({ watched_directory: { path: posix.dirname(path) } });
  return {
    [`${CERTIFICATE}.yaml`]: resource({
      name: CERTIFICATE,
      tls_certificate: {
        certificate_chain: { filename: certificate },
        private_key: { filename: key },
        ...watched(certificate),
      },
    }),
    [`${AUTHORITY}.yaml`]: resource({
      name: AUTHORITY,
      validation_context: { trusted_ca: { filename: ca }, ...watched(ca) },
    }),
  };
}

function resource(secret: object): object {
  return { resources: [{ '@type': `${TLS}.Secret`, ...secret }] };
}
