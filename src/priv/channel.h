/* priv/channel.h: the monitor's end of a role's control socket.  Sends at once; while the socket is full it queues, in order and
 * bounded.  What arrives comes from a process that may be in an attacker's hands: descriptors sent along are closed. */
#ifndef PRIV_CHANNEL_H
#define PRIV_CHANNEL_H
#include "priv/control.h"

struct io_loop;
struct channel;

/* One packet of the role: its first byte, whatever that is, and the rest.  CHANNEL_BROKEN: a packet could not be received or sent; what it
 * said is lost. */
#define CHANNEL_BROKEN 0
typedef void (*channel_cb)(void *ctx, unsigned kind, struct str payload);

/* Takes fd, also when it fails (NULL).  channel_free() is not for use inside the callback. */
struct channel *channel_new(struct io_loop *loop, int fd, channel_cb cb, void *ctx);
struct channel *channel_free(struct channel *channel);

/* passed stays the caller's (-1 = none).  Returns 0, -E_FULL when the role does not read, or why it cannot be sent. */
int channel_send(struct channel *channel, enum control_kind kind, struct str payload, int passed);
/* Hands over what a role that is dead now has said before. */
void channel_drain(struct channel *channel);
#endif
