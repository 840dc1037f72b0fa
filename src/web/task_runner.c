/* Tasks: not there yet. */
#include "web/own.h"

void web_task_run(struct web *web, const struct _murmesh_TaskStart *start, const struct _murmesh_Task *task)
{
	(void)web, (void)start, (void)task;
}

void web_task_cancel(struct web *web, const struct id *task)
{
	(void)web, (void)task;
}

void tasks_stop(struct web *web)
{
	(void)web;
}
