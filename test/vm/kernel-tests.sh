#!/bin/sh
# kernel-tests.sh: runs in the VM, beside bin/ and the tree of test binaries that test.sh made. First a container as a
# user makes it, by bin/minictr alone; then the tests, whose output goes to /out for test2json.
# PACKAGES: the folders to test, in MODULE. FLAGS: for the test binaries.
# shellcheck disable=SC2016 # what is in single quotes is expanded in the container
set -u
PATH=/host/repo/bin:$PATH
cd /host/repo || exit
failures=0

fail() {
	echo "FAIL $*"
	failures=$((failures + 1))
}

# expect WHAT WANT GOT
expect() {
	if [ "$2" = "$3" ]; then echo "ok   $1"; else fail "$1: want '$2', got '$3'"; fi
}

minictr() { command minictr --root /tmp/root --runroot /tmp/runroot "$@"; }

# The outside world is a namespace that has no route back: what arrives there was masqueraded.
make_outside() {
	ip netns add outside
	ip link add to-outside type veth peer name eth0 netns outside
	ip address add 192.0.2.1/24 dev to-outside
	ip link set to-outside up
	ip -n outside address add 192.0.2.2/24 dev eth0
	ip -n outside link set eth0 up
	ip route add default via 192.0.2.2
	echo nameserver 192.0.2.2 >/etc/resolv.conf
}

make_image() {
	mkdir -p /tmp/image/bin /tmp/image/etc
	cp /bin/busybox /tmp/image/bin/
	for applet in sh cat echo ip ping nc readlink sleep true hostname tail seq id; do ln -s busybox /tmp/image/bin/$applet; done
	echo root:x:0:0:root:/:/bin/sh >/tmp/image/etc/passwd
	tar -C /tmp/image -cf /tmp/image.tar .
	minictr import /tmp/image.tar busybox
}

test_run() {
	first=$(minictr run --rm busybox true 2>&1)
	case $first in *"ip_forward was 0"*) first="" ;; esac
	expect "the first run says that it switches forwarding on" "" "$first"
	expect "run gives the output" hello "$(minictr run --rm busybox echo hello 2>&1)"
	minictr run --rm busybox sh -c 'exit 42'
	expect "run gives the exit code" 42 $?
	minictr run --rm busybox no-such-command 2>/dev/null
	expect "a command that is not there" 127 $?
	expect "hostname, PID 1" "box 1" "$(minictr run --rm --hostname box busybox sh -c 'echo $(hostname) $$' 2>&1)"
}

test_limits() {
	limits=$(minictr run --rm --memory 32m --memory-swap 32m --pids-limit 20 --cpus 0.5 busybox \
		sh -c 'cd /sys/fs/cgroup; echo $(cat memory.max memory.swap.max pids.max cpu.max)' 2>&1)
	expect "limits" "33554432 0 20 50000 100000" "$limits"
	minictr run --rm --memory 32m --memory-swap 32m busybox tail /dev/zero
	expect "too much memory is killed" 137 $?
	forks=$(minictr run --rm --pids-limit 10 busybox sh -c 'for i in $(seq 30); do sleep 5 & done' 2>&1)
	case $forks in *fork*) echo "ok   too many processes" ;; *) fail "too many processes: '$forks'" ;; esac
}

test_network() {
	expect "address, default route" "172.17.0.1" "$(minictr run --rm busybox sh -c 'ip route | sed -n "s/^default via \([^ ]*\).*/\1/p"' 2>&1)"
	ip netns exec outside busybox nc -l -p 9000 >/tmp/arrived &
	outside=$!
	minictr run --rm busybox sh -c 'for i in $(seq 50); do echo hi | nc -w 2 192.0.2.2 9000 && break; sleep 0.2; done'
	kill "$outside" 2>/dev/null
	expect "masquerade: the outside, which has no route back, gets" hi "$(cat /tmp/arrived)"
	minictr run --rm --network none busybox sh -c '! ip link show eth0' >/dev/null 2>&1
	expect "network none has no eth0" 0 $?
}

test_exec_and_inspect() {
	minictr run -d --name one busybox sleep 1000 >/dev/null || fail "run -d"
	pid=$(minictr inspect --format '{{.State.Pid}}' one)
	address=$(minictr inspect --format '{{.NetworkSettings.IPAddress}}' one)
	for namespace in net mnt uts ipc pid cgroup; do
		expect "exec enters $namespace" "$(readlink "/proc/$pid/ns/$namespace")" "$(minictr exec one readlink "/proc/self/ns/$namespace" 2>&1)"
	done
	minictr exec one sh -c 'exit 7'
	expect "exec gives the exit code" 7 $?
	minictr run --rm busybox ping -c 1 -W 10 "$address" >/dev/null
	expect "another container reaches $address" 0 $?
	minictr rm -f one >/dev/null
	expect "rm -f ends it" gone "$([ -d "/proc/$pid" ] && echo there || echo gone)"
}

# What containers leave dies in the background; it gets a minute.
test_nothing_left() {
	for try in $(seq 60); do
		left=$(find /sys/fs/cgroup/minictr -mindepth 1 -type d; ip -o link show type veth | grep -v to-outside; grep overlay /proc/mounts; minictr ps -aq)
		[ -n "$left" ] || break
		sleep 1
	done
	expect "nothing is left (after $try s)" "" "$left"
}

test_packages() {
	for package in $PACKAGES; do
		binary=$(echo "$package" | tr / -).test
		begin=$(date +%s)
		# shellcheck disable=SC2086 # one word for each flag
		if (cd "$package" && "./$binary" -test.v=test2json $FLAGS >"/out/$binary.txt" 2>&1); then result='ok  '; else result=FAIL; fi
		took=$(($(date +%s) - begin))
		echo "ran the tests of $package in $took s"
		printf '%s\t%s\t%ds\n' "$result" "$MODULE/$package" "$took" >>"/out/$binary.txt" # as go test does
	done
}

echo "Linux $(uname -r), $(grep -c ^processor /proc/cpuinfo) CPUs, cgroup v2 with $(cat /sys/fs/cgroup/cgroup.controllers)"
make_outside
if [ ! -x bin/minictr ]; then
	fail "bin/minictr is not there: make build"
elif ! make_image; then
	fail "minictr import"
else
	test_run
	test_limits
	test_network
	test_exec_and_inspect
	test_nothing_left
fi
test_packages
exit $failures
