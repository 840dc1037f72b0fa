// What the REST interface and the WebSocket carry.  Ids are 32 lower-case hex digits, times seconds since 1970.
export type * from './api.generated';
