/* The inventory on its way: net asks exec, which may read /proc, and tells the parent what is worth telling. */
#include "agent/inventory.h"
#include "agent/net.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/log.h"

#define SURVEY_MS 60000
#define ANSWER_MS 30000

static void tell(struct net_role *net, const murmesh_Inventory *inventory)
{
	static murmesh_Frame frame;
	if (net->told && !inventory_changed(net->told, inventory))
		return;
	if (!net->told)
		net->told = mem_alloc(sizeof *net->told);
	if (!net->told)
		return; /* the next survey tries again */
	*net->told = *inventory;
	frame = (murmesh_Frame){ .which_body = murmesh_Frame_inventory_tag };
	frame.body.inventory = *inventory;
	rpc_call_send(net->link, &frame);
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
	const murmesh_InventoryRequest request = murmesh_InventoryRequest_init_zero;
	struct net_role *net = ctx;
	if (net->exec)
		rpc_unary(net->exec, &rpc_Manager_TakeInventory, &request, ANSWER_MS, on_taken, net);
}

int net_inventory_begin(struct net_role *net)
{
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
