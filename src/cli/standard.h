/* cli/standard.h: standard input and output of this process against one open stream, both directions and their ends apart.
 *
 * The end of the input ends the stream's writing side, the stream's end closes standard output; it is over when both are.  With a terminal as
 * input the stream's end is enough: nobody is left to talk to.  Any break resets the stream. */
#ifndef CLI_STANDARD_H
#define CLI_STANDARD_H

struct io_loop;
struct stream;
struct standard;

/* Takes the stream over, also on failure: NULL, memory is short.  ended: once, never from inside; err 0 = both directions ended. */
struct standard *standard_new(struct io_loop *loop, struct stream *stream, void (*ended)(void *ctx, int err), void *ctx);
struct standard *standard_free(struct standard *standard); /* resets what is open */
#endif
