# The number of the other end is behind the @ of eth0; here as the kernel's file has it.
number=$(ip netns exec bank cat /sys/class/net/eth0/iflink)
ip link set "$(ip -o link | awk -F'[ :@]+' -v n="$number" '$1 == n { print $2 }')" down
