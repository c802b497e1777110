fresh_host
namespace live
ip -n live link set lo up
server live 80 "alive"
background ip netns exec live $base sleep 86401
background $base sleep 86402
namespace old
cable old veth-old
# One is in it, one has it open, and one place has it mounted.
background ip netns exec old $base sleep 86403
background sh -c "exec 9</run/netns/old; exec $base sleep 86404"
mkdir /run/backup
touch /run/backup/net
mount --bind /run/netns/old /run/backup/net
stat -c %i /run/netns/old >$state/inode
# Until all of them have begun.
for i in 1 2 3 4; do until pgrep -f -x "$base sleep 8640$i" >/dev/null; do sleep 0.02; done; done
pgrep -f "$base (httpd|sleep 8640[12])" >$state/innocent
ip netns delete old
