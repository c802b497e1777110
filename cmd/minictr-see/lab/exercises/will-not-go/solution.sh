# The namespace at the other end of veth-old is the one with a process, that is neither the host's
# nor has a name.
host=$(stat -Lc %i /proc/self/ns/net)
named=$(stat -c %i /run/netns/*)
for ns in /proc/[0-9]*/ns/net; do
	i=$(stat -Lc %i "$ns" 2>/dev/null) || continue
	if [ "$i" != "$host" ] && ! echo "$named" | grep -q -x "$i"; then inode=$i; fi
done
# Who is in it, and who has it open.
for path in /proc/[0-9]*/ns/net /proc/[0-9]*/fd/*; do
	if [ "$(stat -Lc %i "$path" 2>/dev/null)" = "$inode" ]; then
		pid=${path#/proc/}
		kill "${pid%%/*}"
	fi
done
# Where it is mounted.
awk -v i="net:[$inode]" '$4 == i { print $5 }' /proc/self/mountinfo | while read -r path; do umount "$path"; done
