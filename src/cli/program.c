#include "cli/program.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/proc.h"

int program_path(const char *name, char *out, size_t size)
{
	char self[4096], folder[4096];
	struct str file;
	int err = proc_self_path(self, sizeof self);
	if (err == 0)
		err = str_copy(str_cut_last(str_from(self), '/', &file), folder, sizeof folder);
	if (err == 0)
		err = file_path(out, size, folder, name);
	return err < 0 ? err : file_exists(out) ? 0 : -E_NOT_FOUND;
}

void program_command(char *out, size_t size)
{
	struct str file, folder, rest = str_from(getenv("PATH"));
	if (proc_self_path(out, size) < 0) {
		str_copy(STR("murmesh"), out, size);
		return;
	}
	folder = str_cut_last(str_from(out), '/', &file);
	while (rest.len)
		if (str_equal(str_cut(rest, ':', &rest), folder)) {
			str_copy(STR("murmesh"), out, size);
			return;
		}
}

int program_secret(const char *text)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	int err = fd_write_all(ends[1], text, strlen(text));
	fd_close(ends[1]);
	if (err < 0)
		fd_close(ends[0]);
	return err < 0 ? err : ends[0];
}
