/* gateway/reference.h: a port that gives an object reference out (IORPort of a server, IORSenderPort of a relay): one line, and the end. */
#ifndef GATEWAY_REFERENCE_H
#define GATEWAY_REFERENCE_H
#include "base/str.h"

/* To those who wait at the listener now, at most 64: others want the loop too. */
void reference_give(int listener, struct str line);
#endif
