/* os/network.h: ranges of addresses as people write them: "192.0.2.0/24", "2001:db8::/32" (RFC 4632, RFC 4291 section 2.3), one address alone,
 * several with commas between. */
#ifndef OS_NETWORK_H
#define OS_NETWORK_H
#include <stdbool.h>

#include "base/str.h"

#define NETWORK_RANGES_SIZE 256 /* of the text, with the NUL */

/* Whether all of them can be read, and no bit behind a prefix is set: 0 or -E_NETWORK_RANGE. */
int network_ranges_check(struct str ranges);
/* Whether one of them has this address ("192.0.2.7", "2001:db8::7", also "[2001:db8::7]" and "::ffff:192.0.2.7").  False when either cannot be read. */
bool network_ranges_have(struct str ranges, struct str address);
#endif
