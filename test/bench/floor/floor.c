// floor: what the kernel itself costs for one container with a network, with nothing else around it.
//
//   gcc -O2 -static -o floor floor.c
//   ./floor [-n] [-c] [-b BRIDGE -a ADDR/PREFIX -g GATEWAY] LOWER SCRATCH PROGRAM [ARG…]      (as root)
//
// It is the yardstick of "make bench": the system calls that no container runtime can do without, in C, in a straight
// line. It has no seccomp, no capabilities, no state, and no error handling worth the name.
//
//   parent                                              child (clone3 into new namespaces and, on v2, its cgroup)
//   mkdir upper, work, merged; cgroup                   overlay of LOWER with its upper on SCRATCH
//   clone3  ──────────────────────────────────────────► proc, sysfs, /dev with six nodes, devpts, shm, mqueue
//   cgroup v1: write the pid (waits for an RCU period)  pivot_root, hostname
//   veth pair, its peer born inside as eth0             read: wait for the parent
//   write  ───────────────────────────────────────────► address, lo and eth0 up, default route
//   waitpid; rmdir cgroup                               execve PROGRAM
//
//   -b  connect to the bridge, with the address and the default route     -c  a cgroup: v2 where the unified hierarchy
//   -n  leave the network namespace out                                       is on /sys/fs/cgroup, else v1 cpu,
//                                                                              memory and pids
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static char *lower, *scratch, **argv_, *bridge, *addr, *gw;
static int no_net, use_cgroup, ready[2];

static void die(const char *what) { perror(what); _exit(125); }

// ---- netlink, just enough: one message, one acknowledgement -------------------------------------------------------------------------------------
static int nl;
static char buf[8192];
static struct nlmsghdr *msg(int type, int flags, size_t body) {
	memset(buf, 0, sizeof buf);
	struct nlmsghdr *h = (void *)buf;
	h->nlmsg_len = NLMSG_LENGTH(body);
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	return h;
}
static struct rtattr *attr(struct nlmsghdr *h, int type, const void *data, int len) {
	struct rtattr *a = (void *)((char *)h + NLMSG_ALIGN(h->nlmsg_len));
	a->rta_type = type;
	a->rta_len = RTA_LENGTH(len);
	if (len) memcpy(RTA_DATA(a), data, len);
	h->nlmsg_len = NLMSG_ALIGN(h->nlmsg_len) + RTA_ALIGN(a->rta_len);
	return a;
}
static void end(struct nlmsghdr *h, struct rtattr *a) { a->rta_len = (char *)h + h->nlmsg_len - (char *)a; }
static void talk(struct nlmsghdr *h, const char *what) {
	char r[4096];
	if (send(nl, h, h->nlmsg_len, 0) < 0 || recv(nl, r, sizeof r, 0) < 0) die(what);
	struct nlmsgerr *e = NLMSG_DATA((struct nlmsghdr *)r);
	if (e->error) { fprintf(stderr, "%s: %s\n", what, strerror(-e->error)); _exit(125); }
}
static void link_up(int index) {
	struct nlmsghdr *h = msg(RTM_NEWLINK, 0, sizeof(struct ifinfomsg));
	struct ifinfomsg *i = NLMSG_DATA(h);
	i->ifi_index = index; i->ifi_flags = i->ifi_change = IFF_UP;
	talk(h, "link up");
}
// The peer is born in the namespace of pid, already named eth0: no move and no rename.
static void make_veth(pid_t pid) {
	char name[IFNAMSIZ];
	snprintf(name, sizeof name, "fl%d", pid);
	int master = if_nametoindex(bridge);
	struct nlmsghdr *h = msg(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	((struct ifinfomsg *)NLMSG_DATA(h))->ifi_flags = ((struct ifinfomsg *)NLMSG_DATA(h))->ifi_change = IFF_UP;
	attr(h, IFLA_IFNAME, name, strlen(name) + 1);
	attr(h, IFLA_MASTER, &master, 4);
	struct rtattr *li = attr(h, IFLA_LINKINFO, 0, 0);
	attr(h, IFLA_INFO_KIND, "veth", 4);
	struct rtattr *d = attr(h, IFLA_INFO_DATA, 0, 0), *p = attr(h, VETH_INFO_PEER, 0, 0);
	h->nlmsg_len += sizeof(struct ifinfomsg);
	attr(h, IFLA_IFNAME, "eth0", 5);
	attr(h, IFLA_NET_NS_PID, &pid, 4);
	end(h, p); end(h, d); end(h, li);
	talk(h, "veth");
}
// Runs in the child, whose namespace the socket belongs to.
static void configure_inside(void) {
	nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int eth0 = if_nametoindex("eth0"), prefix = atoi(strchr(addr, '/') + 1);
	struct in_addr a, g;
	char ip[32];
	snprintf(ip, sizeof ip, "%.*s", (int)(strchr(addr, '/') - addr), addr);
	inet_pton(AF_INET, ip, &a); inet_pton(AF_INET, gw, &g);
	struct nlmsghdr *h = msg(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifaddrmsg));
	struct ifaddrmsg *m = NLMSG_DATA(h);
	m->ifa_family = AF_INET; m->ifa_prefixlen = prefix; m->ifa_index = eth0;
	attr(h, IFA_LOCAL, &a, 4); attr(h, IFA_ADDRESS, &a, 4);
	talk(h, "address");
	link_up(1); link_up(eth0);
	h = msg(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct rtmsg));
	struct rtmsg *r = NLMSG_DATA(h);
	r->rtm_family = AF_INET; r->rtm_table = RT_TABLE_MAIN; r->rtm_protocol = RTPROT_BOOT; r->rtm_type = RTN_UNICAST;
	attr(h, RTA_GATEWAY, &g, 4);
	talk(h, "route");
}

// ---- cgroups --------------------------------------------------------------------------------------------------
static const char *v1[] = {"cpu", "memory", "pids", 0};
static char path[512];
static char *cg(const char *h, const char *f) {
	snprintf(path, sizeof path, "/sys/fs/cgroup/%s%sfloor%d%s", h, *h ? "/" : "", getpid(), f);
	return path;
}
static int is_v2(void) { return access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0; }

// ---- the container --------------------------------------------------------------------------------------------
static void node(const char *name, int maj, int min) {
	if (mknod(name, S_IFCHR | 0666, makedev(maj, min))) die(name);
}
static int child(void) {
	char o[1024], c;
	if (mount(0, "/", 0, MS_REC | MS_SLAVE, 0)) die("slave");
	snprintf(o, sizeof o, "lowerdir=%s,upperdir=%s/u,workdir=%s/w", lower, scratch, scratch);
	snprintf(path, sizeof path, "%s/m", scratch);
	if (mount("overlay", path, "overlay", 0, o)) die("overlay");
	if (chdir(path)) die("chdir");
	if (mount("proc", "proc", "proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, 0)) die("proc");
	if (!no_net && mount("sysfs", "sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, 0)) die("sysfs");
	if (mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=64k")) die("dev");
	umask(0);
	node("dev/null", 1, 3); node("dev/zero", 1, 5); node("dev/full", 1, 7);
	node("dev/random", 1, 8); node("dev/urandom", 1, 9); node("dev/tty", 5, 0);
	mkdir("dev/pts", 0755); mkdir("dev/shm", 01777); mkdir("dev/mqueue", 01777);
	if (mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")) die("pts");
	if (mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=64m")) die("shm");
	if (mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, 0)) die("mqueue");
	// The new root over the old one, then the old one away: pivot_root(2), NOTES.
	if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH)) die("pivot_root");
	sethostname("floor", 5);
	if (read(ready[0], &c, 1) != 1) _exit(125);
	if (bridge) configure_inside(); // there is an eth0 now
	execv(argv_[0], argv_);
	die(argv_[0]);
	return 127;
}

int main(int argc, char **argv) {
	int o, fd = -1;
	while ((o = getopt(argc, argv, "+ncb:a:g:")) != -1)
		switch (o) {
		case 'n': no_net = 1; break;
		case 'c': use_cgroup = 1; break;
		case 'b': bridge = optarg; break;
		case 'a': addr = optarg; break;
		case 'g': gw = optarg; break;
		default: return 2;
		}
	if (argc - optind < 3) { fprintf(stderr, "usage: floor [-n] [-c] [-b BRIDGE -a ADDR/PREFIX -g GATEWAY] LOWER SCRATCH PROGRAM [ARG…]\n"); return 2; }
	lower = argv[optind]; scratch = argv[optind + 1]; argv_ = argv + optind + 2;
	mkdir(scratch, 0700);
	const char *d[] = {"u", "w", "m"};
	for (int i = 0; i < 3; i++) { snprintf(path, sizeof path, "%s/%s", scratch, d[i]); mkdir(path, 0755); }
	struct clone_args ca = {.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | (no_net ? 0 : CLONE_NEWNET), .exit_signal = SIGCHLD};
	if (use_cgroup && is_v2()) {
		mkdir(cg("", ""), 0755);
		fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		ca.flags |= CLONE_INTO_CGROUP; ca.cgroup = fd;
	}
	if (pipe2(ready, O_CLOEXEC)) die("pipe");
	pid_t pid = syscall(SYS_clone3, &ca, sizeof ca);
	if (pid < 0) die("clone3");
	if (!pid) return child();
	if (use_cgroup && fd < 0)
		for (const char **h = v1; *h; h++) {
			char s[16];
			mkdir(cg(*h, ""), 0755);
			int f = open(cg(*h, "/cgroup.procs"), O_WRONLY | O_CLOEXEC), n = snprintf(s, sizeof s, "%d", pid);
			if (write(f, s, n) != n) die("cgroup.procs");
			close(f);
		}
	if (bridge) { nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE); make_veth(pid); }
	if (write(ready[1], "x", 1) != 1) die("ready");
	int st;
	waitpid(pid, &st, 0);
	if (use_cgroup) {
		if (fd >= 0) rmdir(cg("", ""));
		else for (const char **h = v1; *h; h++) rmdir(cg(*h, ""));
	}
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}
