/* cli/order_file.h: a run order in a file, between its user and another approver: JSON with the signed document and the devices that it is for. */
#ifndef CLI_ORDER_FILE_H
#define CLI_ORDER_FILE_H
#include "services.h"

struct order_file {
	murmesh_RunStart start; /* order and devices */
	murmesh_Order order;    /* read out of it; the devices are those of its digest */
};
/* -E_ORDER_FILE: it is none, or contradicts itself. */
int order_file_read(const char *path, struct order_file *ret);
int order_file_write(const char *path, const murmesh_RunStart *start);
#endif
