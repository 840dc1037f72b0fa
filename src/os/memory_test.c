#include "os/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/test.h"

/* Large enough to be seen, and to be read before and after. */
static const unsigned char constants[1 << 20] = { [0] = 1, [100 << 10] = 2, [200 << 10] = 3 };

/* Resident kilobytes of this test's own files, or of the stack. */
static long resident_kb(const char *name)
{
	char line[512];
	long sum = 0, kb;
	bool counts = false;
	FILE *maps = fopen("/proc/self/smaps", "re");
	assert_non_null(maps);
	while (fgets(line, sizeof line, maps)) {
		if (sscanf(line, "Rss: %ld", &kb) == 1)
			sum += counts ? kb : 0;
		else if (strchr(line, '-') && strspn(line, "0123456789abcdef") == strcspn(line, "-"))
			counts = strstr(line, name);
	}
	fclose(maps);
	return sum;
}

static unsigned constants_sum(void)
{
	unsigned sum = 0;
	for (size_t i = 0; i < sizeof constants; i++)
		sum += ((const volatile unsigned char *)constants)[i];
	return sum;
}

static __attribute__((noinline)) void stack_use(void)
{
	volatile char room[100 << 10];
	for (size_t i = 0; i < sizeof room; i += 512)
		room[i] = 1;
}

static void test_what_is_not_used_goes(void **state)
{
	(void)state;
	stack_use();
	assert_int_equal(constants_sum(), 6);
	long code = resident_kb("test_os_memory"), stack = resident_kb("[stack]");
	memory_release_start();
	assert_in_range(resident_kb("test_os_memory"), 1, code - 800);
	assert_in_range(resident_kb("[stack]"), 1, stack - 60);
}

static void test_what_was_there_is_there(void **state)
{
	unsigned char *heap = malloc(1 << 20);
	char text[32];
	(void)state;
	assert_non_null(heap);
	memset(heap, 7, 1 << 20);
	for (int i = 0; i < 3; i++) {
		memory_release_start();
		assert_int_equal(constants_sum(), 6);
		stack_use();
		assert_int_equal(snprintf(text, sizeof text, "%.3f %" PRIu64, 1.5, UINT64_MAX), 26);
		for (size_t n = 0; n < 1 << 20; n += 4096)
			assert_int_equal(heap[n], 7);
	}
	free(heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_what_is_not_used_goes),
		                            cmocka_unit_test(test_what_was_there_is_there) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
