/* route/test_disk.h: a disk in memory for tests, that fails, is full, or crashes at a numbered step, and may lose what was not synced. */
#ifndef ROUTE_TEST_DISK_H
#define ROUTE_TEST_DISK_H
#include "route/disk.h"

enum { TEST_FILES = 400 };

struct test_file {
	char name[64];
	uint8_t *bytes, *synced;
	size_t size, capacity, synced_size;
	bool there, there_synced;
};

struct test_disk {
	struct test_file files[TEST_FILES];
	size_t n;
	long steps;    /* done so far */
	long crash_at; /* at this step, and from then on, all fails; a write is half done; 0 = never */
	long fail_at;  /* this one fails */
	int fail_err;
	unsigned failures; /* so far, but for a crash */
	uint64_t capacity; /* bytes; 0 = no limit */
	bool crashed;
	/* after TEST_TORN */
	unsigned torn_part; /* of 256: how much of what was not synced stands there; then come zeros.  128 at first */
	bool names_stay;    /* made and removed, and not synced */
};

enum test_crash {
	TEST_KILLED, /* of the process: all that was written is there */
	TEST_POWER,  /* only what was synced is there */
	TEST_TORN,   /* the same, and a part of the rest, then zeros */
	TEST_CRASHES,
};

void test_disk_init(struct test_disk *disk, struct spool_disk *ret);
void test_disk_done(struct test_disk *disk);
/* After a crash, before the next start. */
void test_disk_recover(struct test_disk *disk, enum test_crash how);
struct test_file *test_disk_file(struct test_disk *disk, const char *end); /* the first one there whose name ends so; NULL */
size_t test_disk_count(const struct test_disk *disk, const char *end);
#endif
