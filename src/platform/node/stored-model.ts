/**
 * A model that looplm finds in a cache, as it is listed and removed; which cache is not known here.
 */

/** A commit of a model of the hub. */
export interface StoredRevision {
  readonly commit: string;
  /** Branches and tags that stood there when they were last pulled. */
  readonly refs: readonly string[];
}

export interface StoredModel {
  /** From the hub, or converted by looplm. */
  readonly kind: 'hub' | 'converted';
  /** `ORG/NAME`, or the name of the folder. */
  readonly name: string;
  readonly path: string;
  /** What it was made from: a folder or a name on the hub. Undefined for models of the hub. */
  readonly source: string | undefined;
  /** Of a model of the hub, the newest first. */
  readonly revisions: readonly StoredRevision[];
  /** Of the weights; undefined if it is not known. */
  readonly dtype: string | undefined;
  /** On the disk. */
  readonly sizeBytes: number;
  /** When its newest file was written. */
  readonly modified: Date | undefined;
  /** Whether it has a config and all its weights. */
  readonly isWhole: boolean;
}

/** A model that nobody else adds to or removes until `release`. */
export interface HeldModel {
  /** Bytes that removing frees. */
  readonly sizeBytes: number;
  /** @throws FileError if it cannot be removed */
  remove(): Promise<void>;
  release(): Promise<void>;
}
