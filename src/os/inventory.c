#include "os/inventory.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "os/call.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/host.h"

#define TEXT_MAX ((size_t)256 << 10) /* of a file in /proc; what stands behind is not looked at */

/* Sizes of files in /proc are not known before. */
static void text_read(const char *path, struct buf *out)
{
	char chunk[4096];
	ssize_t n;
	int fd = OS_CALL(EMFILE, open(path, O_RDONLY | O_CLOEXEC));
	buf_init(out, TEXT_MAX);
	while (fd >= 0 && (n = fd_read(fd, chunk, sizeof chunk)) > 0 && buf_append(out, chunk, (size_t)n) == 0)
		;
	fd_close(fd);
}

/* The value behind "name :" in the first such line; the empty view when there is none. */
static struct str field(const struct buf *text, const char *name)
{
	for (struct str rest = buf_str(text); rest.len;) {
		struct str value, line = str_cut(rest, '\n', &rest);
		if (str_is(str_trim(str_cut(line, ':', &value)), name))
			return str_trim(value);
	}
	return STR("");
}

/* ---- processor, memory, time ---- */

/* Architectures differ in what they call it. */
static void processor_read(struct inventory *inventory)
{
	static const char *const names[] = { "model name", "Model", "cpu", "cpu model", "uarch", "Hardware" };
	struct str found = STR("");
	struct buf text;
	text_read("/proc/cpuinfo", &text);
	for (size_t i = 0; i < sizeof names / sizeof *names && !found.len; i++)
		found = field(&text, names[i]);
	utf8_clean(found, inventory->processor, sizeof inventory->processor);
	buf_done(&text);
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	inventory->processors = online > 0 ? (unsigned)online : 0;
}

/* "16384 kB" */
static uint64_t bytes_field(const struct buf *text, const char *name)
{
	struct str unit;
	uint64_t number;
	struct str digits = str_cut(field(text, name), ' ', &unit);
	return str_to_u64(digits, UINT64_MAX >> 10, &number) == 0 && str_is(unit, "kB") ? number << 10 : 0;
}

static void memory_read(struct inventory *inventory)
{
	struct buf text;
	text_read("/proc/meminfo", &text);
	inventory->memory = bytes_field(&text, "MemTotal");
	inventory->memory_available = bytes_field(&text, "MemAvailable");
	buf_done(&text);
}

static void time_read(struct inventory *inventory)
{
	struct timespec since;
	if (OS_CALL(EIO, clock_gettime(CLOCK_BOOTTIME, &since)) == 0)
		inventory->boot_time = clock_wall_s() - since.tv_sec;
}

static void kernel_read(struct inventory *inventory)
{
	struct utsname names;
	char text[2 * sizeof names.release] = "";
	if (OS_CALL(EIO, uname(&names)) == 0)
		snprintf(text, sizeof text, "%s %s", names.sysname, names.release);
	utf8_clean(str_from(text), inventory->kernel, sizeof inventory->kernel);
}

/* ---- file systems: proc_pid_mountinfo(5) ---- */

struct mount {
	struct str device, path, type;
};

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw" */
static bool mount_parse(struct str line, struct mount *ret)
{
	struct str word = STR("");
	for (int i = 0; i < 5; i++) {
		word = str_cut(line, ' ', &line);
		if (i == 2)
			ret->device = word;
	}
	ret->path = word;
	do
		word = str_cut(line, ' ', &line);
	while (line.len && !str_is(word, "-"));
	ret->type = str_cut(line, ' ', &line);
	return ret->path.len && ret->type.len;
}

/* Types that /proc/filesystems calls nodev have no device.  An overlay on "/" stands for a container's, an image is full by nature. */
static bool type_is_real(struct str type, struct str path, const struct buf *known)
{
	if (str_is(type, "squashfs") || str_is(type, "erofs"))
		return false;
	if (str_is(type, "zfs") || (str_is(type, "overlay") && str_is(path, "/")))
		return true;
	for (struct str rest = buf_str(known); rest.len;) {
		struct str name, line = str_cut(rest, '\n', &rest);
		str_cut(line, '\t', &name);
		if (str_equal(name, type))
			return !str_starts(line, STR("nodev"));
	}
	return false;
}

/* The kernel writes blanks, tabs, line feeds and backslashes as \040 and so on. */
static void path_decode(struct str text, char out[4096])
{
	size_t len = 0;
	for (size_t i = 0; i < text.len && len < 4095; len++) {
		const char *at = text.ptr + i;
		bool escaped = *at == '\\' && text.len - i > 3;
		out[len] = escaped ? (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0')) : *at;
		i += escaped ? 4 : 1;
	}
	out[len] = 0;
}

static void file_system_add(struct inventory *inventory, const struct mount *mount)
{
	struct inventory_file_system *row = &inventory->file_systems[inventory->n_file_systems];
	char path[4096];
	struct stat status;
	struct statvfs space;
	path_decode(mount->path, path);
	if (stat(path, &status) < 0 || !S_ISDIR(status.st_mode)) /* a single file of another machine's, mounted into a container */
		return;
	if (OS_CALL(EIO, statvfs(path, &space)) < 0 || !space.f_blocks)
		return;
	utf8_clean(str_from(path), row->path, sizeof row->path);
	utf8_clean(mount->type, row->type, sizeof row->type);
	row->size = (uint64_t)space.f_blocks * space.f_frsize;
	row->available = (uint64_t)space.f_bavail * space.f_frsize;
	inventory->n_file_systems++;
}

static void file_systems_read(struct inventory *inventory)
{
	struct str devices[INVENTORY_FILE_SYSTEMS];
	struct buf mounts, known;
	text_read("/proc/self/mountinfo", &mounts);
	text_read("/proc/filesystems", &known);
	for (struct str rest = buf_str(&mounts); rest.len && inventory->n_file_systems < INVENTORY_FILE_SYSTEMS;) {
		struct mount mount;
		size_t n = inventory->n_file_systems, same = 0;
		if (!mount_parse(str_cut(rest, '\n', &rest), &mount) || !type_is_real(mount.type, mount.path, &known))
			continue;
		while (same < n && !str_equal(devices[same], mount.device))
			same++;
		devices[n] = mount.device;
		if (same == n)
			file_system_add(inventory, &mount);
	}
	buf_done(&mounts);
	buf_done(&known);
}

/* ---- interfaces ---- */

static struct inventory_interface *interface_find(struct inventory *inventory, const char *name)
{
	size_t i = 0;
	char clean[sizeof inventory->interfaces[0].name];
	utf8_clean(str_from(name), clean, sizeof clean);
	while (i < inventory->n_interfaces && strcmp(inventory->interfaces[i].name, clean) != 0)
		i++;
	if (i == INVENTORY_INTERFACES)
		return NULL;
	struct inventory_interface *interface = &inventory->interfaces[i];
	if (i == inventory->n_interfaces) {
		inventory->n_interfaces++;
		str_copy(str_from(clean), interface->name, sizeof interface->name);
	}
	return interface;
}

static unsigned prefix_length(const struct sockaddr *mask)
{
	const struct sockaddr_in *v4 = (const void *)mask;
	const struct sockaddr_in6 *v6 = (const void *)mask;
	unsigned n = 0;
	if (mask && mask->sa_family == AF_INET)
		return (unsigned)__builtin_popcount(v4->sin_addr.s_addr);
	for (size_t i = 0; mask && mask->sa_family == AF_INET6 && i < sizeof v6->sin6_addr; i++)
		n += (unsigned)__builtin_popcount(v6->sin6_addr.s6_addr[i]);
	return n;
}

static void address_add(struct inventory_interface *interface, const struct ifaddrs *at)
{
	char text[NI_MAXHOST];
	bool v6 = at->ifa_addr->sa_family == AF_INET6;
	socklen_t size = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	if (interface->n_addresses == INVENTORY_ADDRESSES ||
	    getnameinfo(at->ifa_addr, size, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0)
		return;
	text[strcspn(text, "%")] = 0; /* the interface, of a link-local address */
	char *out = interface->addresses[interface->n_addresses++];
	snprintf(out, sizeof interface->addresses[0], "%.42s/%u", text, prefix_length(at->ifa_netmask));
}

static void interface_take(struct inventory_interface *interface, const struct ifaddrs *at)
{
	static const uint8_t none[sizeof interface->hardware];
	const struct sockaddr_ll *link = (const void *)at->ifa_addr;
	switch (at->ifa_addr->sa_family) {
	case AF_INET:
	case AF_INET6:
		address_add(interface, at);
		break;
	case AF_PACKET:
		interface->has_hardware = link->sll_halen == sizeof none && memcmp(link->sll_addr, none, sizeof none) != 0;
		if (interface->has_hardware)
			memcpy(interface->hardware, link->sll_addr, sizeof none);
		break;
	}
}

static void interfaces_read(struct inventory *inventory)
{
	struct ifaddrs *list;
	if (fault_hit() || getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *at = list; at; at = at->ifa_next) {
		struct inventory_interface *interface = at->ifa_addr ? interface_find(inventory, at->ifa_name) : NULL;
		if (interface)
			interface_take(interface, at);
	}
	freeifaddrs(list);
}

void inventory_read(struct inventory *ret)
{
	struct host host;
	*ret = (struct inventory){ .processors = 0 };
	host_read(&host);
	str_copy(str_from(host.os), ret->os, sizeof ret->os);
	kernel_read(ret);
	processor_read(ret);
	memory_read(ret);
	time_read(ret);
	file_systems_read(ret);
	interfaces_read(ret);
}
