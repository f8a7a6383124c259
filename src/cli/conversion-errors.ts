/**
 * What a conversion cost in precision, by part of the model, as a table.
 */
import type { TensorReport } from '../platform/node/index.js';
import { shortBytes, table } from './table.js';

/** Parts of a model whose errors are told together. */
const PARTS: Readonly<Record<string, (tensor: TensorReport) => boolean>> = {
  embedding: ({ kind }) => kind === 'embedding',
  attention: ({ name }) => name.includes('.self_attn.'),
  MLP: ({ name }) => name.includes('.mlp.'),
  head: ({ kind }) => kind === 'head',
  'norms, gate': ({ kind }) => ['norm', 'gateWeight', 'gateBias'].includes(kind),
};

/** The errors of a part; relative to the weights. */
export interface PartErrors {
  readonly part: string;
  readonly format: string;
  readonly sizeBytes: number;
  readonly mean: number;
  readonly worst: number;
  /** Name of the worst tensor; null where all are exact. */
  readonly worstTensor: string | null;
}

export function errorsByPart(tensors: readonly TensorReport[]): PartErrors[] {
  return Object.entries(PARTS).flatMap(([part, isIn]) => {
    const members = tensors.filter(isIn);
    if (members.length === 0) return [];
    const worst = members.reduce((a, b) => (b.relativeError > a.relativeError ? b : a));
    return {
      part,
      format: members[0]!.format,
      sizeBytes: members.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      mean: members.reduce((sum, { relativeError }) => sum + relativeError, 0) / members.length,
      worst: worst.relativeError,
      worstTensor: worst.relativeError === 0 ? null : worst.name,
    };
  });
}

export function errorTable(parts: readonly PartErrors[]): string[] {
  const percent = (value: number) => `${(100 * value).toFixed(3)} %`;
  const rows = parts.map(({ part, format, sizeBytes, mean, worst, worstTensor }) => [
    part,
    format,
    shortBytes(sizeBytes),
    percent(mean),
    percent(worst),
    worstTensor ?? '-',
  ]);
  return table([['part', 'format', 'size', 'mean error', 'worst error', 'of'], ...rows]);
}
