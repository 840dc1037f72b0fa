/* bench/figures.h: how busy the machine was, at the end of each result's line. */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct figures {
	unsigned long long all,
	        taken; /* ticks of all processors; of them those that the host gave to others.  proc(5), /proc/stat */
};

static inline struct figures figures_begin(void)
{
	unsigned long long ticks[8] = { 0 };
	struct figures now = { 0, 0 };
	FILE *file = fopen("/proc/stat", "r");
	for (int i = 0; file && i < 8 && fscanf(file, i ? "%llu" : "cpu %llu", &ticks[i]) == 1; i++)
		now.all += ticks[i];
	if (file)
		fclose(file);
	now.taken = ticks[7];
	return now;
}

static inline void figures_end(const struct figures *since)
{
	const struct figures now = figures_begin();
	double load = 0, passed = (double)(now.all - since->all);
	getloadavg(&load, 1);
	printf("\"load\":%.1f,\"taken_percent\":%.1f,\"processors\":%ld}\n", load,
	       passed > 0 ? 100 * (double)(now.taken - since->taken) / passed : 0, sysconf(_SC_NPROCESSORS_ONLN));
	fflush(stdout);
}
#endif
