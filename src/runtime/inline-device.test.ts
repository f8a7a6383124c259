import { deviceConformance } from './device.conformance.js';
import { createInlineDevice } from './inline-device.js';

deviceConformance('the inline device', createInlineDevice);
