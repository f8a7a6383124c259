import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CheckpointError } from '../errors.js';
import { memoryFolder } from '../util/folder.js';
import type { LoopLMConfig } from './config.js';
import { parseModelConfig } from './config-json.js';
import { openCheckpoint } from './checkpoint.js';
import { TENSOR_ALIGNMENT, convertedLayout, openConverted } from './converted.js';
import type { ModelFormat } from './weight-format.js';
import { modelFormatToJson, scalesName } from './weight-format.js';

const F16 = { kind: 'float', dtype: 'f16' } as const;
const q4: ModelFormat = {
  body: { kind: 'blocks', bits: 4, blockSize: 64 },
  head: { kind: 'blocks', bits: 8, blockSize: 128 },
  embedding: F16,
  method: 'round-to-nearest',
};
const f16: ModelFormat = { ...q4, body: F16, head: F16 };

function configJson(name: string): Record<string, unknown> {
  const path = new URL(`../../test/fixtures/${name}/config.json`, import.meta.url);
  return JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
}

const configOf = (json: unknown): LoopLMConfig => parseModelConfig(json).config;

const released = {
  ...configJson('tiny-mha'),
  hidden_size: 2048,
  intermediate_size: 5632,
  num_hidden_layers: 24,
  layer_types: null,
  num_attention_heads: 16,
  num_key_value_heads: 16,
  head_dim: 128,
  vocab_size: 49_152,
};

describe('convertedLayout', () => {
  it('aligns every tensor of a model of the released shape', () => {
    for (const format of [q4, f16]) {
      const { entries } = convertedLayout(configOf(released), format);
      expect(entries.filter(({ byteOffset }) => byteOffset % TENSOR_ALIGNMENT !== 0)).toEqual([]);
    }
  });

  it('of the released shape takes 4.5 bits a body weight, 8.25 a head weight, 16 an embedding', () => {
    const body = 24 * (4 * 2048 * 2048 + 3 * 2048 * 5632);
    const table = 49_152 * 2048;
    const floats = 4 * ((4 * 24 + 2) * 2048 + 1);
    const { header, size } = convertedLayout(configOf(released), q4);
    expect(size - header.length).toBe((body * 4.5 + table * (8.25 + 16)) / 8 + floats);
  });

  it.each(['tiny-mha', 'tiny-gqa-tied'])(
    'of %s keeps what is multiplied at once together',
    (name) => {
      const { entries } = convertedLayout(configOf(configJson(name)), q4);
      const find = (tensor: string) => entries.find((entry) => entry.name === tensor)!;
      for (const group of [
        ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'],
        ['mlp.gate_proj', 'mlp.up_proj'],
      ]) {
        const names = group.map((part) => `model.layers.1.${part}.weight`);
        for (const members of [names, names.map(scalesName)]) {
          const places = members.map(find);
          for (const [i, place] of places.slice(1).entries()) {
            expect(place.byteOffset).toBe(places[i]!.byteOffset + places[i]!.byteLength);
          }
        }
      }
    },
  );

  it('aligns each tensor to its elements, whatever the shapes', () => {
    for (const [hidden, vocab, inner] of [
      [34, 13, 5],
      [62, 313, 77],
    ]) {
      const config = configOf({
        ...configJson('tiny-mha'),
        hidden_size: hidden,
        vocab_size: vocab,
        intermediate_size: inner,
        head_dim: 2,
      });
      for (const format of [q4, f16]) {
        const { entries, size } = convertedLayout(config, format);
        let end = entries[0]!.byteOffset;
        for (const { dtype, byteOffset, byteLength } of entries) {
          expect(byteOffset).toBe(end);
          expect(byteOffset % { F32: 4, F16: 2, U8: 1 }[dtype as 'F32' | 'F16' | 'U8']).toBe(0);
          end += byteLength;
        }
        expect(end).toBe(size);
      }
    }
  });
});

/** A converted model without sense: all weights are 0. */
function zeros(json: Record<string, unknown>, format: ModelFormat) {
  const { header, size } = convertedLayout(configOf(json), format);
  const weights = new Uint8Array(size);
  weights.set(header);
  const quantization = { ...json, quantization_config: modelFormatToJson(format) };
  const config = new TextEncoder().encode(JSON.stringify(quantization));
  return new Map([
    ['config.json', config],
    ['model.safetensors', weights],
  ]);
}

describe('openConverted', () => {
  const folderOf = (files: Map<string, Uint8Array>) => memoryFolder('converted', files);

  it('says where every tensor lies, also of a tied head, which has one of its own', async () => {
    const json = configJson('tiny-gqa-tied');
    const model = await openConverted(folderOf(zeros(json, q4)));
    expect(model.format).toEqual(q4);
    expect(model.config).toEqual(configOf(json));
    expect(model.tensors.get('lm_head.weight')).toMatchObject({
      dtype: 'U8',
      shape: [256, 1, 128],
    });
    expect(model.tensors.get('lm_head.weight.scales')).toMatchObject({ shape: [256, 1] });
    expect(model.tensors.get('model.embed_tokens.weight')).toMatchObject({
      dtype: 'F16',
      shape: [256, 48],
      range: { file: 'model.safetensors', byteLength: 2 * 256 * 48 },
    });
  });

  it('refuses weights of another format, a shortened file, and a model that was not converted', async () => {
    const json = configJson('tiny-mha');
    const files = zeros(json, q4);
    const other = new Map([...files, ['config.json', zeros(json, f16).get('config.json')!]]);
    await expect(openConverted(folderOf(other))).rejects.toThrow(
      /model\.safetensors holds .* as tensor \d+; .* needs .* convert the model again/,
    );
    const short = new Map([
      ...files,
      ['model.safetensors', files.get('model.safetensors')!.slice(0, -1)],
    ]);
    await expect(openConverted(folderOf(short))).rejects.toThrow(CheckpointError);
    files.set('config.json', new TextEncoder().encode(JSON.stringify(json)));
    await expect(openConverted(folderOf(files))).rejects.toThrow(/not converted/);
  });

  it('is what opens a converted model: openCheckpoint refuses it', async () => {
    await expect(openCheckpoint(folderOf(zeros(configJson('tiny-mha'), q4)))).rejects.toThrow(
      /converted model \(4-bit blocks of 64\)/,
    );
  });
});
