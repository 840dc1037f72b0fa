#include "os/host.h"

#include <sys/utsname.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "base/utf8.h"
#include "os/call.h"
#include "os/file.h"

#define HOST_FILE_MAX ((size_t)16 << 10)

static struct str unquote(struct str s)
{
	bool quoted = s.len >= 2 && (s.ptr[0] == '"' || s.ptr[0] == '\'') && s.ptr[s.len - 1] == s.ptr[0];
	return quoted ? (struct str){ s.ptr + 1, s.len - 2 } : s;
}

static struct str os_release_name(struct str text)
{
	while (text.len) {
		struct str value, line = str_cut(text, '\n', &text);
		if (str_is(str_cut(line, '=', &value), "PRETTY_NAME"))
			return unquote(str_trim(value));
	}
	return STR("");
}

static void os_read(char *out, size_t size)
{
	struct buf text;
	buf_init(&text, HOST_FILE_MAX);
	int err = file_read("/etc/os-release", &text);
	struct str name = err < 0 ? STR("") : os_release_name(buf_str(&text));
	utf8_clean(name.len ? name : STR("linux"), out, size);
	buf_done(&text);
}

static void machine_id_read(char text[ID_TEXT_SIZE])
{
	struct buf content;
	struct id id;
	struct str rest;
	buf_init(&content, HOST_FILE_MAX);
	text[0] = 0;
	if (file_read("/etc/machine-id", &content) == 0 && id_parse(str_cut(buf_str(&content), '\n', &rest), &id) == 0)
		id_format(&id, text);
	buf_done(&content);
}

void host_read(struct host *ret)
{
	struct utsname names;
	*ret = (struct host){ 0 };
	bool known = OS_CALL(EIO, uname(&names)) == 0;
	utf8_clean(str_from(known && names.nodename[0] ? names.nodename : "localhost"), ret->name, sizeof ret->name);
	utf8_clean(str_from(known ? names.machine : "unknown"), ret->architecture, sizeof ret->architecture);
	os_read(ret->os, sizeof ret->os);
	machine_id_read(ret->machine_id);
}
