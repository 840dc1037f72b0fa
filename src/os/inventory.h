/* os/inventory.h: what this machine is made of.  All text is valid UTF-8 without control characters. */
#ifndef OS_INVENTORY_H
#define OS_INVENTORY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INVENTORY_FILE_SYSTEMS 16
#define INVENTORY_INTERFACES   16
#define INVENTORY_ADDRESSES    8 /* of one interface */

struct inventory_file_system {
	char path[128], type[32];
	uint64_t size, available; /* bytes; available: to ordinary users */
};

struct inventory_interface {
	char name[16];
	uint8_t hardware[6];
	bool has_hardware;
	char addresses[INVENTORY_ADDRESSES][48]; /* with prefix length: "192.0.2.7/24" */
	size_t n_addresses;
};

struct inventory {
	char kernel[128];                  /* uname(2): sysname and release */
	char os[128];                      /* os/host.h */
	char processor[128];               /* the first one of /proc/cpuinfo; "" when it has no name */
	unsigned processors;               /* online */
	uint64_t memory, memory_available; /* bytes */
	int64_t boot_time;                 /* seconds since 1970, as this machine's clock has it */
	/* Those on devices of this machine, each device once; none of the network, which may not answer. */
	struct inventory_file_system file_systems[INVENTORY_FILE_SYSTEMS];
	size_t n_file_systems;
	struct inventory_interface interfaces[INVENTORY_INTERFACES];
	size_t n_interfaces;
};
/* Never fails: what cannot be found is empty.  Reads /proc and asks each file system. */
void inventory_read(struct inventory *ret);
#endif
