/* Runs a fuzz target over every file of a corpus folder, over each of their prefixes, and over single-byte changes. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const uint8_t *bytes, size_t len)
{
	/* A heap copy of the exact size, so that a sanitizer sees a read past the end. */
	uint8_t *copy = malloc(len ? len : 1);
	if (!copy)
		abort();
	if (len)
		memcpy(copy, bytes, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static void run_file(const char *path)
{
	static uint8_t bytes[1 << 16];
	FILE *file = fopen(path, "rb");
	if (!file) {
		perror(path);
		exit(1);
	}
	size_t len = fread(bytes, 1, sizeof bytes, file);
	fclose(file);
	run(bytes, len);
	size_t step = len > 2048 ? len / 2048 : 1;
	for (size_t n = 0; n < len; n += step)
		run(bytes, n);
	for (size_t n = 0; n < len; n += step)
		for (unsigned bit = 0; bit < 8; bit += 3) {
			bytes[n] ^= (uint8_t)(1u << bit);
			run(bytes, len);
			bytes[n] ^= (uint8_t)(1u << bit);
		}
}

int main(int argc, char **argv)
{
	unsigned files = 0;
	DIR *directory = argc > 1 ? opendir(argv[1]) : NULL;
	if (!directory) {
		fprintf(stderr, "no corpus folder\n");
		return 1;
	}
	for (struct dirent *e; (e = readdir(directory));) {
		char path[4096];
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
		run_file(path);
		files++;
	}
	closedir(directory);
	printf("%u files\n", files);
	return files ? 0 : 1;
}
