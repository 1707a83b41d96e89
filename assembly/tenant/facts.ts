/**
 * The facts that rules may ask of a workload besides its principal: a field of the metadata that Istio passes on about the peer, or
 * with which Envoy was started about its own workload (the node). Where each is found:
 *
 *   field       peer, Istio >= 1.24 (an object)         peer, Istio <= 1.23 (a table)     node, and x-envoy-peer-metadata
 *   workload    filter_state downstream_peer workload   downstream_peer workload_name     WORKLOAD_NAME
 *   namespace   ... namespace                           ... namespace                     NAMESPACE
 *   cluster     ... cluster                             ... cluster_id                    CLUSTER_ID
 *   app         ... app                                 ... labels app                    LABELS app
 *   labels      ... labels <name>                       ... labels <name>                 LABELS <name>
 *
 * Read in istio/proxy, extensions/common/metadata_object.cc, node_info.fbs and the peer_metadata filter, release-1.21 to release-1.29.
 * From 1.24 to 1.28 the object has no labels. From 1.29 it has those that the proxy is configured to pass on.
 */
import { Ascii, ascii, freeAscii } from '../wire/bytes';

export const enum Field {
  WORKLOAD,
  NAMESPACE,
  CLUSTER,
  APP,
  LABEL,
}

/** By Field. */
export const FIELD_NAMES: string[] = ['workload', 'namespace', 'cluster', 'app', 'labels'];

const APP_LABEL: string = 'app';
const METADATA_NAMES: string[] = ['WORKLOAD_NAME', 'NAMESPACE', 'CLUSTER_ID', 'LABELS', 'LABELS'];
const TABLE_NAMES: string[] = ['workload_name', 'namespace', 'cluster_id', 'labels', 'labels'];

function pathOf(first: string, field: string, last: string): Ascii {
  return ascii(last.length == 0 ? first + field : first + field + '\0' + last);
}

export class Fact {
  /** Envoy's properties: the peer as an object, the peer as a table, the node, and the node's name in older versions. */
  object: Ascii;
  table: Ascii;
  node: Ascii;
  olderNode: Ascii;
  /** The keys in a metadata Struct: the field's, and the label's in it ('' for none). */
  key: Ascii;
  labelKey: Ascii;
  /** Its name in a rule, for errors. */
  name: ArrayBuffer;

  constructor(
    public field: Field,
    /** The label's name, or ''. */
    public label: string,
  ) {
    const inner = field == Field.APP ? APP_LABEL : label;
    this.object = pathOf('filter_state\0downstream_peer\0', FIELD_NAMES[field], label);
    this.table = pathOf('downstream_peer\0', TABLE_NAMES[field], inner);
    this.node = pathOf('xds\0node\0metadata\0', METADATA_NAMES[field], inner);
    this.olderNode = pathOf('node\0metadata\0', METADATA_NAMES[field], inner);
    this.key = ascii(METADATA_NAMES[field]);
    this.labelKey = ascii(inner);
    const name = FIELD_NAMES[field];
    this.name = String.UTF8.encode(label.length == 0 ? name : name + '["' + label + '"]');
  }

  free(): void {
    freeAscii(this.object);
    freeAscii(this.table);
    freeAscii(this.node);
    freeAscii(this.olderNode);
    freeAscii(this.key);
    freeAscii(this.labelKey);
  }
}
