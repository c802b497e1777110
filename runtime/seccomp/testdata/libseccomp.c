// The filter that libseccomp makes of a profile, for the tests to compare with.
//
// The profile comes on standard input, a line for each of
//
//	default VERDICT
//	arch NAME                                   "x86", "x32", as seccomp_arch_resolve_name(3) calls it
//	optimize LEVEL                              2: a binary tree
//	rule VERDICT NAME [INDEX OPERATOR VALUE VALUETWO]...
//
// and the program goes to standard output. A name that libseccomp does not know
// is passed over. Exit code 17: a rule contradicts another (EEXIST).
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *what, int rc)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-rc));
	exit(rc == -EEXIST ? 17 : 1);
}

static enum scmp_compare operator(const char *name)
{
	static const char *const names[] = {
		[SCMP_CMP_NE] = "NE", [SCMP_CMP_LT] = "LT", [SCMP_CMP_LE] = "LE", [SCMP_CMP_EQ] = "EQ",
		[SCMP_CMP_GE] = "GE", [SCMP_CMP_GT] = "GT", [SCMP_CMP_MASKED_EQ] = "MASKED_EQ",
	};
	for (size_t i = SCMP_CMP_NE; i < sizeof names / sizeof *names; i++)
		if (!strcmp(names[i], name))
			return i;
	fail(name, -EINVAL);
	return 0;
}

int main(void)
{
	char line[4096];
	scmp_filter_ctx filter = NULL;
	while (fgets(line, sizeof line, stdin)) {
		char *word = strtok(line, " \n"), *first = strtok(NULL, " \n");
		int rc = 0;
		if (!strcmp(word, "default")) {
			filter = seccomp_init(strtoul(first, NULL, 0));
			if (!filter)
				fail(word, -EINVAL);
		} else if (!strcmp(word, "arch")) {
			rc = seccomp_arch_add(filter, seccomp_arch_resolve_name(first));
			if (rc == -EEXIST)
				rc = 0;
		} else if (!strcmp(word, "optimize")) {
			rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, atoi(first));
		} else if (!strcmp(word, "rule")) {
			struct scmp_arg_cmp args[6];
			unsigned count = 0;
			int nr = seccomp_syscall_resolve_name(strtok(NULL, " \n"));
			for (char *index; (index = strtok(NULL, " \n")); count++) {
				args[count].arg = atoi(index);
				args[count].op = operator(strtok(NULL, " \n"));
				args[count].datum_a = strtoull(strtok(NULL, " \n"), NULL, 0);
				args[count].datum_b = strtoull(strtok(NULL, " \n"), NULL, 0);
			}
			if (nr != __NR_SCMP_ERROR)
				rc = seccomp_rule_add_array(filter, strtoul(first, NULL, 0), nr, count, args);
		}
		if (rc)
			fail(word, rc);
	}
	return seccomp_export_bpf(filter, STDOUT_FILENO) ? 1 : 0;
}
