#include "os/host.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/utsname.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/id.h"
#include "base/utf8.h"
#include "os/call.h"
#include "os/file.h"

#define HOST_FILE_MAX ((size_t)16 << 10)

static struct str unquote(struct str s)
{
	bool quoted = s.len >= 2 && (s.ptr[0] == '"' || s.ptr[0] == '\'') && s.ptr[s.len - 1] == s.ptr[0];
	return quoted ? (struct str){ s.ptr + 1, s.len - 2 } : s;
}

static struct str os_release_name(struct str text)
{
	while (text.len) {
		struct str value, line = str_cut(text, '\n', &text);
		if (str_is(str_cut(line, '=', &value), "PRETTY_NAME"))
			return unquote(str_trim(value));
	}
	return STR("");
}

static void os_read(char *out, size_t size)
{
	struct buf text;
	buf_init(&text, HOST_FILE_MAX);
	int err = file_read("/etc/os-release", &text);
	struct str name = err < 0 ? STR("") : os_release_name(buf_str(&text));
	utf8_clean(name.len ? name : STR("linux"), out, size);
	buf_done(&text);
}

static void machine_id_read(char text[ID_TEXT_SIZE])
{
	struct buf content;
	struct id id;
	struct str rest;
	buf_init(&content, HOST_FILE_MAX);
	text[0] = 0;
	if (file_read("/etc/machine-id", &content) == 0 && id_parse(str_cut(buf_str(&content), '\n', &rest), &id) == 0)
		id_format(&id, text);
	buf_done(&content);
}

void host_read(struct host *ret)
{
	struct utsname names;
	*ret = (struct host){ 0 };
	bool known = OS_CALL(EIO, uname(&names)) == 0;
	utf8_clean(str_from(known && names.nodename[0] ? names.nodename : "localhost"), ret->name, sizeof ret->name);
	utf8_clean(str_from(known ? names.machine : "unknown"), ret->architecture, sizeof ret->architecture);
	os_read(ret->os, sizeof ret->os);
	machine_id_read(ret->machine_id);
}

/* Without its interface, whose name differs on each machine, such an address says nothing. */
static bool is_link_local(const struct sockaddr *address)
{
	return address->sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

static const struct ifaddrs *address_pick(const struct ifaddrs *list, int family)
{
	for (const struct ifaddrs *at = list; at; at = at->ifa_next)
		if (at->ifa_addr && at->ifa_addr->sa_family == family && at->ifa_flags & IFF_UP &&
		    !(at->ifa_flags & IFF_LOOPBACK) && !is_link_local(at->ifa_addr))
			return at;
	return NULL;
}

int host_address(char *out, size_t size)
{
	struct ifaddrs *list;
	if (fault_hit() || getifaddrs(&list) < 0)
		return -E_NOT_FOUND;
	const struct ifaddrs *found = address_pick(list, AF_INET);
	bool v6 = !found && (found = address_pick(list, AF_INET6));
	size_t length = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	int err = found ? -E_TOO_LONG : -E_NOT_FOUND;
	if (found && size > 2 &&
	    getnameinfo(found->ifa_addr, (socklen_t)length, out + v6, (socklen_t)(size - 2 * v6), NULL, 0, NI_NUMERICHOST) == 0)
		err = 0;
	if (err == 0 && v6) {
		out[0] = '[';
		memcpy(out + strlen(out), "]", 2);
	}
	freeifaddrs(list);
	return err;
}
