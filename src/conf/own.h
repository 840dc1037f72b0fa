/* conf/own.h: how a conf is held; made by parse.c, read by get.c. */
#ifndef CONF_OWN_H
#define CONF_OWN_H
#include "conf/conf.h"

struct conf {
	const struct conf_table *table;
	struct conf_value {
		char *text;    /* owned; NULL = not set */
		unsigned line; /* of the file; 0 = not there */
		uint64_t number;
	} values[]; /* one for each option of the table */
};
#endif
