/* h2/lend.h: nghttp2 takes a 16,394-byte frame buffer per session that it uses only between packing a frame and the next one.
 * This allocator lends all sessions the same buffer.  Conditions, kept by h2.c: one thread; nghttp2_session_mem_send() is called
 * until it returns 0 before another session is touched; frames of at most 16,384 bytes; header blocks of at most 16,384 bytes;
 * send callbacks never pause.  Only the first realloc(NULL) during nghttp2_session_*_new3() is lent: the HPACK rings
 * come later and are steered by the peer. */
#ifndef H2_LEND_H
#define H2_LEND_H
#include <nghttp2/nghttp2.h>
#include <stdbool.h>

nghttp2_mem *lend_memory(void);
void lend_begin(void); /* before nghttp2_session_*_new3() */
bool lend_end(void);   /* after it: whether the buffer was lent */
#endif
