/* cli/doctor.h: what `murmesh doctor` checks: one row per check in doctor_checks.c. */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

enum doctor_result { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_FAILURE };

#define DOCTOR_TEXT_SIZE 512

struct doctor_check {
	const char *name;
	/* Writes what was found; directory: the one of --dir, which need not exist. */
	enum doctor_result (*run)(const char *directory, char text[DOCTOR_TEXT_SIZE]);
	const char *remedy; /* when the result is not OK */
};

/* doctor_mesh.c */
enum doctor_result doctor_server(const char *directory, char text[DOCTOR_TEXT_SIZE]);
enum doctor_result doctor_keys(const char *directory, char text[DOCTOR_TEXT_SIZE]);
enum doctor_result doctor_certificate(const char *directory, char text[DOCTOR_TEXT_SIZE]);

/* Ends with a row of zeros. */
extern const struct doctor_check doctor_checks[];
#endif
