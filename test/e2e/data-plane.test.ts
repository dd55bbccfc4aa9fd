/** The data plane as clients of all kinds see it, on real microVMs (sections 5 and 6.1). One image and one server for all of them. */
import { after, before, describe } from 'node:test';
import { cannotServe } from './lull-server.ts';
import { browserSuite } from './data-plane/browser.ts';
import { curlSuite } from './data-plane/curl.ts';
import { DataPlane } from './data-plane/endpoint.ts';
import { grpcSuite } from './data-plane/grpc.ts';
import { ingressSuite } from './data-plane/ingress.ts';
import { webSocketSuite } from './data-plane/websocket.ts';

describe('the data plane', { skip: await cannotServe(), timeout: 600_000 }, () => {
  let started: DataPlane | undefined;
  before(async () => {
    started = await DataPlane.start();
  });
  after(() => started?.[Symbol.asyncDispose]());
  const plane = () => started!;

  curlSuite(plane);
  webSocketSuite(plane);
  grpcSuite(plane);
  browserSuite(plane);
  ingressSuite(plane);
});
