/* web/download.h: the program `murmesh` of the server's own version, for whoever asks: it holds no secret.
 *
 *   /dl/murmesh        the program
 *   /dl/murmesh.sha256 a line for `sha256sum -c`
 *   /dl/murmesh.json   {"version", "size", "sha256"}
 *
 * It is read from a descriptor that was opened at the start, piece by piece as the client takes it; until its hash is known, 503. */
#ifndef WEB_DOWNLOAD_H
#define WEB_DOWNLOAD_H
#include "web/http.h"

void download_init(struct download *download, struct io_loop *loop);
void download_done(struct download *download);
void download_set(struct download *download, int fd); /* borrowed; from its start to its end */
bool download_is(struct str path);
void download_request(struct http_exchange *exchange, struct str path);
#endif
