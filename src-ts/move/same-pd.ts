/**
 * The PDs of a move, by the ids of their clusters. The files of clusters and storages only say addresses, which may lead to another PD than
 * when the move began: a name that was pointed elsewhere, a slip, two entries exchanged. Nothing is read or written at such a one.
 */
import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { CommandError } from '../errors.ts';
import { Endpoint, type CallOptions, type EndpointOptions, type Method } from '../pd/endpoint.ts';
import { clusterId } from '../pd/timestamp.ts';
import { hasRangeOf, registered } from '../tenants/registry.ts';
import { tenantAt, type Place } from './place.ts';
import type { MoveRecord } from './record.ts';

/** The ids of PD's clusters when the move began, decimal. */
export interface PdIds {
  /** Of the one that has the record. */
  readonly home: string;
  /** Of the other one, when a move has two. */
  readonly other?: string;
}

/** What a check asks. */
type Asked = Pick<Endpoint, 'http'>;

function another(where: string, now: string, before: string, tenant: string, flag: string): CommandError {
  return new CommandError(
    'REFUSED',
    `${where} is another one: its cluster id is ${now}, and was ${before} when the move of ${tenant} began; nothing was done there`,
    `give the address of the PD whose cluster id is ${before}: ${flag}`,
  );
}

/** @throws CommandError when this PD has the record of another one's move */
export async function mustBeHome(pd: Asked, { tenant, pdIds }: MoveRecord): Promise<void> {
  if (!pdIds) return;
  const now = String(await clusterId(pd));
  if (now !== pdIds.home) throw another('PD', now, pdIds.home, tenant, '--pd');
}

/**
 * @param pd at the address of a side that has not the record
 * @param home the PD that has it
 * @throws CommandError when it is not the one with which the move began
 */
export async function mustBeOther(
  pd: Asked,
  home: Asked,
  { tenant, number, pdIds }: MoveRecord,
  place: Place,
): Promise<void> {
  const { cluster, storage } = place;
  const [where, flag] =
    cluster === undefined
      ? [`PD of storage ${storage ?? ''}`, '--storages']
      : [`PD of cluster ${cluster}`, '--clusters'];
  const now = String(await clusterId(pd));
  if (pdIds?.other !== undefined) {
    if (now !== pdIds.other) throw another(where, now, pdIds.other, tenant, flag);
    return;
  }
  // A record of an earlier version says nothing.
  const here = String(await clusterId(home));
  if (now === here)
    throw new CommandError(
      'REFUSED',
      `${where} has the cluster id ${now}, as PD of --pd has: they are one, and nothing was done there`,
      `give the address of the other PD: ${flag}`,
    );
  if (cluster !== undefined)
    throw new CommandError(
      'REFUSED',
      `the record of ${tenant}'s import is of an earlier version, and does not say which PD cluster ${cluster} had; that of now, with the cluster id ${now}, may be another one`,
      `end the import, which does nothing at the cluster, and begin again: tidb-mesh move cancel ${tenant} --without-cluster; in the mesh: complete`,
    );
  const own = (await registered(pd)).find(({ name }) => name === tenant);
  if (!own || !hasRangeOf(own, tenantAt({ name: tenant, number }, place)))
    throw new CommandError(
      'REFUSED',
      `${where} has the cluster id ${now}, and no rule of ${tenant} for its place there; the record of its move is of an earlier version and does not say which PD it was`,
      `give the right address: ${flag}; if it is right, write \`"pdIds":{"home":"${here}","other":"${now}"}\` into the record (docs/move.md)`,
    );
}

interface SamePdOptions {
  /** What errors of its calls begin with; several sides have addresses that say nothing. */
  readonly side?: string | undefined;
  /** Is asked right before each call that may change something, and throws when another worker has the move. */
  readonly isMine?: (() => Promise<void>) | undefined;
}

/** A PD that is asked for nothing before it has shown who it is, and told nothing by a worker that has lost its move. */
export class SamePd extends Endpoint {
  private shown: Promise<void> | undefined;

  /**
   * @param check throws when it is another one; it asks past the check itself
   */
  constructor(
    options: EndpointOptions,
    private readonly check: (unchecked: Asked) => Promise<void>,
    private readonly samePd: SamePdOptions = {},
  ) {
    super(options);
  }

  /** What is asked before it is known, and by which it becomes known. */
  readonly unchecked: Asked = {
    http: (...asked: Parameters<Endpoint['http']>) => this.named(super.http(...asked)),
  };

  private async named<T>(call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      // Not the reason of a signal, which ends many calls.
      const isOfCall =
        error instanceof CommandError && (error.code === 'UNREACHABLE' || error.code === 'PD_ERROR');
      const { side } = this.samePd;
      if (isOfCall && side !== undefined && !error.message.startsWith(`${side}: `))
        error.message = `${side}: ${error.message}`;
      throw error;
    }
  }

  private same(): Promise<void> {
    this.shown ??= this.check(this.unchecked).catch((error: unknown) => {
      this.shown = undefined;
      throw error;
    });
    return this.shown;
  }

  /** Asks again who it is: its name may lead elsewhere by now. @throws CommandError */
  async verify(): Promise<void> {
    this.shown = undefined;
    await this.same();
  }

  override async http(...asked: Parameters<Endpoint['http']>): Promise<unknown> {
    await this.same();
    if (asked[0] !== 'GET') await this.samePd.isMine?.();
    return this.named(super.http(...asked));
  }

  override async grpc<Request extends DescMessage, Answer extends DescMessage>(
    method: Method<Request, Answer>,
    fields: MessageInitShape<Request>,
    address?: string,
    options?: CallOptions,
  ): Promise<MessageShape<Answer>> {
    await this.same();
    // Before a call to a store, Storage asks.
    if (address === undefined && !method.isRead) await this.samePd.isMine?.();
    return this.named(super.grpc(method, fields, address, options));
  }

  override async connected(address: string): Promise<void> {
    await this.same();
    return this.named(super.connected(address));
  }
}
