/* The object reference for CORBA clients. */
#include "base/err.h"
#include "ca/join_line.h"
#include "server/core.h"
#include "server/orb.h"

static int reference_write(const struct ior *ior, murmesh_Reference *reply)
{
	struct buf text;
	buf_init(&text, sizeof reply->ior);
	int err = ior_write(ior, &text);
	if (err == 0)
		err = str_copy(buf_str(&text), reply->ior, sizeof reply->ior);
	buf_done(&text);
	return err;
}

static int own_write(const struct core *core, murmesh_Reference *reply)
{
	struct ior ior;
	int err = orb_reference(priv_child_configuration(core->child), &ior);
	return err < 0 ? err : reference_write(&ior, reply);
}

/* Its front is what the server knows of it. */
static int relay_write(const struct device *device, murmesh_Reference *reply)
{
	struct ior ior = IOR_ROUTER;
	if (!device->relay || !device->relay_address[0])
		return -E_NOT_RELAY;
	int err = join_address_parse(str_from(device->relay_address), ior.address.host, &ior.tls_port);
	return err < 0 ? err : reference_write(&ior, reply);
}

int core_reference_begin(struct core_request *request)
{
	const murmesh_DeviceName *message = request->message;
	return message->selector[0] ? core_selection_begin(request, message->selector, CORE_NAME)
	                            : own_write(request->base.core, request->reply);
}

int core_reference_run(struct store_tx *tx, struct core_request *request)
{
	struct user user;
	struct device device;
	size_t at = 0;
	int err = core_caller_check(tx, &request->caller, ACCOUNT_LIST, &user);
	if (err < 0 || !request->selection)
		return err;
	err = core_selection_run(tx, request, &user, &request->rows);
	if (err == 0 && !core_rows_next(&request->rows, &at, &device, sizeof device))
		err = -E_NOT_FOUND;
	if (err == 0 && request->rows.n > 1)
		err = -E_AMBIGUOUS;
	return err < 0 ? err : relay_write(&device, request->reply);
}
