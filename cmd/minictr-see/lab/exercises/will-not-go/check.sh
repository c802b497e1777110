inode=$(cat $state/inode)
in_it() { for p in /proc/[0-9]*; do readlink $p/ns/net; done 2>/dev/null | grep -q -F "net:[$inode]"; }
opened() { for f in /proc/[0-9]*/fd/*; do stat -Lc %i $f; done 2>/dev/null | grep -q -x "$inode"; }
mounted() { cat /proc/[0-9]*/mountinfo 2>/dev/null | grep -q -F "net:[$inode]"; }
alive() { for pid in $(cat $state/innocent); do kill -0 $pid || return 1; done; }
gone() { for i in 1 2 3 4 5 6 7 8 9 10; do if ! ip link show veth-old; then return 0; fi; $base sleep 0.1; done; return 1; }
if in_it || opened || mounted; then ip link show veth-old >/dev/null 2>&1 || echo "not yet: the cable is gone, but the namespace is not"; fi
goal "no process is in the namespace" not in_it
goal "nobody has it open" not opened
goal "nobody has it mounted" not mounted
if in_it || opened || mounted; then echo "not yet: the namespace has ended, and its cable with it"; else goal "the namespace has ended, and its cable with it" gone; fi
goal "those who had nothing to do with it run on" alive
goal "live still answers" fetches live http://127.0.0.1 alive
