import { deviceConformance } from './device.conformance.js';
import { kvStoreConformance } from './kv-store.conformance.js';
import { createInlineDevice } from './inline-device.js';

deviceConformance('the inline device', createInlineDevice);
kvStoreConformance('the inline device', createInlineDevice);
