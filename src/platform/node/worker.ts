/**
 * Entry of the worker thread of a device: an executor that answers messages. The first
 * message is its options.
 *
 * The thread loads ONNX Runtime itself, so the thread that opened the device never does.
 */
import { parentPort } from 'node:worker_threads';
import { assert } from '../../errors.js';
import type { DeviceOptions } from '../../runtime/device.js';
import { Executor } from '../../runtime/executor.js';
import * as ort from '../../runtime/ort-node.js';
import { serveBackend } from '../../runtime/remote.js';
import { spawnAttentionHelper } from './attention-helper.js';

const port = parentPort;
assert(port, 'worker.js runs in a worker thread only');

port.once('message', (options: DeviceOptions) => {
  serveBackend(new Executor(ort, options, spawnAttentionHelper), {
    send: (message, transfer) => port.postMessage(message, transfer),
    onMessage: (handler) => port.on('message', handler),
  });
});
