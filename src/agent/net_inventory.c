/* The inventory on its way: net asks exec, which may read /proc, and tells the parent what is worth telling. */
#include <pb_decode.h>

#include "agent/inventory.h"
#include "agent/net.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/log.h"

#define SURVEY_MS 60000
#define ANSWER_MS 30000

/* As exec has signed it, or, for a parent of before, without the signature. */
static void inventory_send(struct net_role *net, const murmesh_SignedInventory *signed_one, const murmesh_Inventory *inventory)
{
	static const uint8_t none[sizeof net->challenge];
	static murmesh_Frame frame;
	frame = (murmesh_Frame){ .which_body = murmesh_Frame_signed_inventory_tag };
	if (memcmp(net->challenge, none, sizeof none) != 0)
		frame.body.signed_inventory = *signed_one;
	else {
		frame.which_body = murmesh_Frame_inventory_tag;
		frame.body.inventory = *inventory;
	}
	rpc_call_send(net->link, &frame);
}

static void tell(struct net_role *net, const murmesh_SignedInventory *signed_one)
{
	static murmesh_InventoryStatement statement;
	pb_istream_t in = pb_istream_from_buffer(signed_one->statement.bytes, signed_one->statement.size);
	if (!pb_decode(&in, murmesh_InventoryStatement_fields, &statement) ||
	    memcmp(statement.challenge, net->challenge, sizeof net->challenge) != 0)
		return; /* it was asked for on the link before */
	if (net->told && !inventory_changed(net->told, &statement.inventory))
		return;
	if (!net->told)
		net->told = mem_alloc(sizeof *net->told);
	if (!net->told)
		return; /* the next survey tries again */
	*net->told = statement.inventory;
	inventory_send(net, signed_one, &statement.inventory);
}

static void on_taken(void *ctx, int err, const char *why, const void *response)
{
	struct net_role *net = ctx;
	if (err < 0)
		log_debug("no inventory: %s %s", err_text(err), why);
	else if (net->link && net->online)
		tell(net, response);
}

static void on_survey(void *ctx)
{
	struct net_role *net = ctx;
	murmesh_InventoryRequest request;
	memcpy(request.challenge, net->challenge, sizeof request.challenge);
	if (net->exec)
		rpc_unary(net->exec, &rpc_Manager_TakeInventory, &request, ANSWER_MS, on_taken, net);
}

int net_inventory_begin(struct net_role *net, const murmesh_Welcome *welcome)
{
	memcpy(net->challenge, welcome->challenge, sizeof net->challenge);
	if (!net->survey)
		net->survey = io_timer_new(net->loop, on_survey, net);
	if (!net->survey)
		return -E_NO_MEMORY;
	net->told = mem_free(net->told);
	io_timer_start(net->survey, 0, SURVEY_MS);
	return 0;
}

void net_inventory_end(struct net_role *net)
{
	if (net->survey)
		io_timer_stop(net->survey);
	net->told = mem_free(net->told);
}
