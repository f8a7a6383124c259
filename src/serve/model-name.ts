/** Whether a request asks for the model that is served. */
import { quote } from '../util/quote.js';
import { ApiError } from './errors.js';
import type { Server } from './server.js';

/** @throws ApiError 404 for another model; a request that names none means the one that is served */
export function checkModel({ settings }: Server, model: string | undefined): void {
  if (model === undefined || model === settings.modelName) return;
  throw new ApiError(
    404,
    `The model ${quote(model)} is not served here; this server has ${quote(settings.modelName)}.`,
    { code: 'model_not_found', param: 'model' },
  );
}
