/* As long as this machine is attached, core sends it what it wants of its relay. */
#include "base/err.h"
#include "base/mem.h"
#include "ca/components.h"
#include "gateway/uplink.h"
#include "os/log.h"
#include "os/socket.h"
#include "stream/stream.h"

#define TASK_MS 5000

struct task {
	struct rpc_call *of; /* the attachment that it came over; referenced */
	uint32_t number;
};

static void done_send(struct rpc_call *call, uint32_t number, int err)
{
	const murmesh_ComponentReport report = { .which_body = murmesh_ComponentReport_done_tag,
		                                 .body.done = { .number = number, .error = (uint32_t)-err } };
	if (rpc_call_alive(call))
		rpc_call_send(call, &report);
}

static void on_done(void *ctx, int err, const char *why, const void *response)
{
	struct task *task = ctx;
	(void)why;
	(void)response;
	done_send(task->of, task->number, err);
	rpc_call_unref(task->of);
	mem_free(task);
}

static int relay_ask(struct uplink *uplink, uint32_t number, const struct rpc_method *method, const void *request)
{
	struct task *task = uplink->relay ? mem_alloc(sizeof *task) : NULL;
	if (!task)
		return -E_BUSY;
	*task = (struct task){ rpc_call_ref(uplink->attached), number };
	int err = rpc_unary(uplink->relay, method, request, TASK_MS, on_done, task);
	if (err < 0) {
		rpc_call_unref(task->of);
		mem_free(task);
	}
	return err;
}

/* ---- a leg goes on: to another machine of the server, or to where core's was reached ---- */

struct onward {
	struct uplink *uplink;
	struct rpc_call *of; /* as of a task */
	uint32_t number;
	murmesh_Forwarding forwarding;
};

static void on_looked_up(void *ctx, int err, const char *why, const void *response)
{
	struct onward *onward = ctx;
	const murmesh_LookupReply *reply = response;
	(void)why;
	if (err == 0)
		err = reply->addresses_count ? 0 : -E_NOT_FOUND;
	if (err == 0)
		err = str_copy(str_from(reply->addresses[0]), onward->forwarding.address, sizeof onward->forwarding.address);
	if (err == 0 && onward->uplink->attached == onward->of)
		err = relay_ask(onward->uplink, onward->number, &rpc_Relay_Forward, &onward->forwarding);
	if (err < 0)
		done_send(onward->of, onward->number, err);
	rpc_call_unref(onward->of);
	mem_free(onward);
}

static int look_up(struct uplink *uplink, uint32_t number, const murmesh_Forwarding *wanted)
{
	murmesh_LookupRequest request = murmesh_LookupRequest_init_zero;
	struct onward *onward = uplink->resolve ? mem_alloc(sizeof *onward) : NULL;
	if (!onward)
		return -E_BUSY;
	*onward = (struct onward){ uplink, rpc_call_ref(uplink->attached), number, *wanted };
	str_copy(str_from(wanted->address), request.host, sizeof request.host);
	int err = rpc_unary(uplink->resolve, &rpc_Resolve_Lookup, &request, TASK_MS, on_looked_up, onward);
	if (err < 0) {
		rpc_call_unref(onward->of);
		mem_free(onward);
	}
	return err;
}

static int forward_ask(struct uplink *uplink, uint32_t number, const murmesh_Forwarding *wanted)
{
	murmesh_Forwarding forwarding = *wanted;
	struct socket_address literal;
	if (!wanted->address[0]) {
		forwarding.port = uplink->core_port;
		socket_peer_host(stream_fd(rpc_connection_stream(uplink->core)), forwarding.address);
	} else if (socket_address_parse(str_from(wanted->address), 1, &literal) < 0)
		return look_up(uplink, number, wanted);
	return relay_ask(uplink, number, &rpc_Relay_Forward, &forwarding);
}

static void on_welcome(struct uplink *uplink)
{
	if (!uplink->online)
		uplink_report(uplink, "online %s", uplink->keep.info.common_name);
	uplink->online = true;
	uplink->told_err = 0;
	uplink_serve(uplink);
	uplink_pairs(uplink);
	priv_child_ready(uplink->child); /* again after a pause: the first one counts */
}

static void on_task(void *ctx, const void *message)
{
	struct uplink *uplink = ctx;
	const murmesh_ComponentTask *task = message;
	int err = -E_UNSUPPORTED;
	if (!uplink->attached)
		return;
	switch (task->which_body) {
	case murmesh_ComponentTask_welcome_tag:
		return on_welcome(uplink);
	case murmesh_ComponentTask_announce_tag:
		err = relay_ask(uplink, task->number, &rpc_Relay_Announce, &task->body.announce);
		break;
	case murmesh_ComponentTask_forward_tag:
		err = forward_ask(uplink, task->number, &task->body.forward);
		break;
	case murmesh_ComponentTask_close_tag:
		err = relay_ask(uplink, task->number, &rpc_Relay_ClosePair, &task->body.close);
		break;
	default:
		break;
	}
	if (err < 0)
		done_send(uplink->attached, task->number, err);
}

/* Who is shut out stays out: this machine stops. */
static void on_closed(void *ctx, int err, const char *why)
{
	struct uplink *uplink = ctx;
	if (!uplink->attached)
		return;
	uplink->attached = NULL;
	if (err == -E_REVOKED) {
		uplink_report(uplink, "refused %s %s", err_name(err), err_text(err));
		return uplink_hang_up(uplink);
	}
	uplink_later(uplink, err < 0 ? err : -E_CLOSED, why);
}

void uplink_attach(struct uplink *uplink)
{
	static const struct rpc_call_events events = { on_task, NULL, NULL, on_closed };
	struct str settings = priv_child_configuration(uplink->child);
	murmesh_ComponentReport report = { .which_body = murmesh_ComponentReport_hello_tag };
	murmesh_ComponentHello *hello = &report.body.hello;
	str_copy(STR(MURMESH_VERSION), hello->version, sizeof hello->version);
	str_copy(str_setting(settings, "address"), hello->address, sizeof hello->address);
	int err = ca_component_roles_parse(str_setting(settings, "roles"), &hello->roles);
	uplink->attached = err == 0 ? rpc_call_open(uplink->core, &rpc_Components_Attach, NULL, 0, &events, uplink) : NULL;
	if (!uplink->attached || rpc_call_send(uplink->attached, &report) < 0)
		uplink_later(uplink, err < 0 ? err : -E_NO_MEMORY, NULL);
}
