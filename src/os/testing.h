/* os/testing.h: what tests with sockets share.  Not part of the programs. */
#ifndef OS_TESTING_H
#define OS_TESTING_H
#include <errno.h>

#include "base/test.h"
#include "os/fd.h"
#include "os/socket.h"

/* The accepted end of a connection that comes from the address. */
static inline int test_connection_from(const char *address, int *ret_client)
{
	struct socket_address bound;
	assert_int_equal(socket_address_parse(str_from(address), 0, &bound), 0);
	int listener = socket_listen(&bound), accepted;
	assert_true(listener >= 0);
	assert_int_equal(socket_local(listener, &bound), 0);
	*ret_client = socket_connect(&bound);
	assert_true(*ret_client >= 0);
	while ((accepted = socket_accept(listener)) == -EAGAIN)
		;
	assert_true(accepted >= 0);
	fd_close(listener);
	return accepted;
}
#endif
