/* os/host.h: what this machine says about itself.  All text is valid UTF-8 without control characters. */
#ifndef OS_HOST_H
#define OS_HOST_H
#include <stddef.h>

struct host {
	char name[65];         /* host name; "localhost" when it has none */
	char os[128];          /* PRETTY_NAME of os-release(5), "Debian GNU/Linux 12 (bookworm)", or "linux" */
	char architecture[65]; /* as uname(2) has it, "x86_64" */
	char machine_id[33];   /* machine-id(5): 32 lower-case hex digits, or "" */
};
/* Never fails: what cannot be found has the value said above. */
void host_read(struct host *ret);
/* The address that other machines most likely reach this one by: the first of an interface that is up and not loopback, IPv4 before
 * IPv6 (in brackets, never a link-local one).  Returns 0, -E_NOT_FOUND when there is none, or -E_TOO_LONG. */
int host_address(char *out, size_t size);
#endif
